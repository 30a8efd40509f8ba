import { parseRule, type Rule } from './policy-language.js';

const ADMIN = 'role:admin';
const READER = 'rule:project_reader_or_admin';
/** Anybody with a valid token of a project. */
const OPEN = '';

/**
 * The reference's rules and their defaults, deprecated predecessors left out as its `enforce_new_defaults` does by default
 * (spec: policy). Some are registered there but never asked; files may name them all the same.
 */
export const DEFAULT_RULES: Readonly<Record<string, string>> = {
  context_is_admin: ADMIN,
  admin_or_owner: 'is_admin:True or (role:admin and is_admin_project:True) or project_id:%(project_id)s',
  default: OPEN,
  project_member_api: 'role:member and project_id:%(project_id)s',
  project_reader_api: 'role:reader and project_id:%(project_id)s',
  project_member_or_admin: 'rule:project_member_api or rule:context_is_admin',
  project_reader_or_admin: 'rule:project_reader_api or rule:context_is_admin',

  'info:get_config': OPEN,
  'info:list_metrics_info': OPEN,
  'info:get_metric_info': OPEN,
  'info:list_services_info': OPEN,
  'info:get_service_info': OPEN,
  'collector:list_mappings': ADMIN,
  'collector:get_mapping': ADMIN,
  'collector:manage_mapping': ADMIN,
  'collector:get_state': ADMIN,
  'collector:update_state': ADMIN,
  'rating:list_modules': ADMIN,
  'rating:get_module': ADMIN,
  'rating:update_module': ADMIN,
  'rating:quote': OPEN,
  'rating:module_config': ADMIN,
  'report:list_tenants': ADMIN,
  'report:get_summary': READER,
  'report:get_total': READER,
  'storage:list_data_frames': READER,

  'dataframes:add': ADMIN,
  'dataframes:get': READER,
  'summary:get_summary': READER,
  'scope:get_state': ADMIN,
  'scope:reset_state': ADMIN,
  'scope:patch_state': ADMIN,
  'scope:post_state': ADMIN,
  'v2_rating:list_modules': ADMIN,
  'v2_rating:get_module': ADMIN,
  'v2_rating:update_module': ADMIN,
  'schedule:task_reprocesses': ADMIN,
  'schedule:get_task_reprocesses': ADMIN,
};

/** The defaults, ready to be overridden by name. */
export function defaultRules(): Map<string, Rule> {
  return new Map(
    Object.entries(DEFAULT_RULES).map(([name, text]) => {
      const { rule, fault } = parseRule(text);
      if (rule === undefined) throw new Error(`default rule ${name}: ${fault.message}`);
      return [name, rule];
    }),
  );
}
