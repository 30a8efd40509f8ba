// Writes the man pages of the built program into dist/man.
import 'reflect-metadata';
import { fileURLToPath } from 'node:url';
import { writeManual } from '../dist/core/cli/manual.js';

await writeManual(fileURLToPath(new URL('../dist/man', import.meta.url)));
