export type { ReprocessRegister, ReprocessTask } from '../../scopes/reprocess-tasks.js';
