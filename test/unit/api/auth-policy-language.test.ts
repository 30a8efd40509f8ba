import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { UnjudgedIdentity } from '../../../core/api/auth/identity.js';
import type { PolicyTarget } from '../../../core/api/auth/policy.js';
import { DEFAULT_RULES, defaultRules } from '../../../core/api/auth/policy-defaults.js';
import { parseRule, type Rule, type WrittenRule } from '../../../core/api/auth/policy-language.js';
import { factsOf, PolicyRules } from '../../../core/api/auth/policy-rules.js';
import { HOSTILE_TEXTS } from '../../../core/testkit/hostile-texts.js';
import { sampleSeed } from '../../../core/testkit/samples.js';

type Caller = UnjudgedIdentity & { readonly isAdmin: boolean };

const nobody: Caller = {
  userId: undefined,
  projectId: undefined,
  projectName: undefined,
  domainId: undefined,
  systemScope: undefined,
  roles: [],
  isAdminProject: true,
  isAnonymous: false,
  isAdmin: false,
};
const admin: Caller = { ...nobody, userId: 'u1', projectId: 'p1', roles: ['Admin', 'reader'], isAdmin: true };
const reader: Caller = { ...nobody, userId: 'u2', projectId: 'p1', roles: ['reader'] };

function ruleOf(written: WrittenRule): Rule {
  const { rule, fault } = parseRule(written);
  assert.ok(rule !== undefined, `${JSON.stringify(written)}: ${fault?.message}`);
  return rule;
}

function rulesOf(written: Readonly<Record<string, WrittenRule>>): PolicyRules {
  const { rules, faults } = PolicyRules.from(
    new Map(Object.entries(written).map(([name, rule]) => [name, ruleOf(rule)])),
  );
  assert.ok(rules !== undefined, JSON.stringify(faults));
  return rules;
}

function passes(written: WrittenRule, caller: Caller, target: PolicyTarget = {}): boolean {
  return rulesOf({ asked: written }).allows('asked', factsOf(caller), target);
}

function faultsOf(written: Readonly<Record<string, WrittenRule>>): readonly string[] {
  const { faults = [] } = PolicyRules.from(
    new Map(Object.entries(written).map(([name, rule]) => [name, ruleOf(rule)])),
  );
  return faults.map(({ name, message }) => `${name} ${message}`);
}

const yes = true;
const no = false;
const own = { project_id: 'p1' };
const foreign = { project_id: 'p2' };

const CASES: readonly (readonly [WrittenRule, Caller, PolicyTarget, boolean])[] = [
  ['', nobody, {}, yes],
  ['@', nobody, {}, yes],
  ['!', admin, {}, no],
  ['not @', admin, {}, no],
  ['not !', nobody, {}, yes],
  ['not not @', nobody, {}, yes],
  ['NOT !', nobody, {}, yes],
  ['role:admin', admin, {}, yes],
  ['role:ADMIN', admin, {}, yes],
  ['role:admin', reader, {}, no],
  ['role:admin', nobody, {}, no],
  ['role:adm', admin, {}, no],
  ['role:', admin, {}, no],
  ['role:%(role)s', reader, { role: 'READER' }, yes],
  ['role:%(role)s', reader, {}, no],
  ['role:%(role)s', reader, { role: null }, no],
  ['roles:reader', reader, {}, yes],
  ['roles:READER', reader, {}, no],
  ['ROLE:admin', admin, {}, no],
  ['project_id:%(project_id)s', reader, own, yes],
  ['project_id:%(project_id)s', reader, foreign, no],
  ['project_id:%(project_id)s', reader, {}, no],
  ['project_id:%(project_id)s', reader, { project_id: null }, no],
  ['project_id:%(project_id)s', nobody, own, no],
  ['project_id:%(project_id)s', nobody, { project_id: null }, no],
  ['project_id:%(project_id)s', { ...reader, projectId: 'None' }, { project_id: null }, no],
  ['project_id:None', nobody, {}, yes],
  ['project_id:None', reader, {}, no],
  ['not project_id:None', nobody, {}, no],
  ['not project_id:None', reader, {}, yes],
  ['project_id:p1', reader, {}, yes],
  ['project_id:p1', { ...reader, projectId: 'p%1' }, {}, no],
  ['project_id:p%%1', { ...reader, projectId: 'p%1' }, {}, yes],
  ['project_id:a:b', { ...reader, projectId: 'a:b' }, {}, yes],
  ['user_id:%(user_id)s', reader, { user_id: 'u2' }, yes],
  ['user_id:%(user_id)s', reader, { user_id: 'u1' }, no],
  ['user_domain_id:d', { ...reader, userDomainId: 'd' }, {}, yes],
  ['user_domain_id:d', reader, {}, no],
  ['project_domain_id:d', { ...reader, projectDomainId: 'd' }, {}, yes],
  ['domain_id:d', { ...reader, domainId: 'd' }, {}, yes],
  ['system_scope:all', { ...reader, systemScope: 'all' }, {}, yes],
  ['system_scope:all', admin, {}, no],
  ['is_admin:True', admin, {}, yes],
  ['is_admin:True', reader, {}, no],
  ['is_admin:true', admin, {}, no],
  ['is_admin:False', reader, {}, yes],
  ['is_admin_project:True', reader, {}, yes],
  ['is_admin_project:True', { ...reader, isAdminProject: false }, {}, no],
  ["'p1':%(project_id)s", nobody, own, yes],
  ['"p1":%(project_id)s', nobody, own, yes],
  ["'p2':%(project_id)s", admin, own, no],
  ['p1:%(project_id)s', admin, own, no],
  ['True:%(enabled)s', nobody, { enabled: 'True' }, yes],
  ['True:%(enabled)s', nobody, { enabled: 'true' }, no],
  ['None:%(project_id)s', nobody, { project_id: null }, yes],
  ['None:%(project_id)s', nobody, own, no],
  ['7:%(count)s', nobody, { count: '7' }, yes],
  ['-7:%(count)s', nobody, { count: '-7' }, yes],
  ['07:%(count)s', nobody, { count: '07' }, no],
  ["'':%(empty)s", nobody, { empty: '' }, yes],
  ['unknown:value', admin, {}, no],
  ['field:networks:shared=True', admin, {}, no],
  ['token.user.id:u1', admin, {}, no],
  ['not unknown:value', nobody, {}, yes],
  ['__proto__:x', admin, {}, no],
  ['constructor:%(constructor)s', admin, {}, no],
  ['project_id:%(__proto__)s', admin, {}, no],
  ['project_id:%(toString)s', admin, {}, no],
  ['user_id:%(project_id)s%(user_id)s', { ...nobody, userId: 'p1u' }, { ...own, user_id: 'u' }, yes],
  ['role:admin and role:reader', admin, {}, yes],
  ['role:admin and role:reader', reader, {}, no],
  ['role:admin or role:reader', reader, {}, yes],
  ['role:admin or role:reader', nobody, {}, no],
  ['role:admin AND role:reader', admin, {}, yes],
  ['role:admin Or role:reader', reader, {}, yes],
  ['role:admin   or\trole:reader\n', reader, {}, yes],
  ['@ or ! and !', nobody, {}, yes],
  ['! and ! or @', nobody, {}, yes],
  ['(@ or !) and !', nobody, {}, no],
  ['( @ or ! ) and !', nobody, {}, no],
  ['not ! and !', nobody, {}, no],
  ['not (! and !)', nobody, {}, yes],
  ['not ( ! or @ )', nobody, {}, no],
  ['! or not ! and @', nobody, {}, yes],
  ['((role:reader))', reader, {}, yes],
  ['(((project_id:%(project_id)s)))', reader, own, yes],
  ['(role:reader and project_id:%(project_id)s) or role:admin', reader, own, yes],
  ['(role:reader and project_id:%(project_id)s) or role:admin', reader, foreign, no],
  ['(role:reader and project_id:%(project_id)s) or role:admin', admin, foreign, yes],
  [[], nobody, {}, yes],
  [[[]], admin, {}, no],
  [['role:admin'], admin, {}, yes],
  [['role:admin'], reader, {}, no],
  [[['role:admin']], admin, {}, yes],
  [[['role:admin', 'role:reader']], reader, {}, no],
  [[['role:admin'], ['role:reader']], reader, {}, yes],
  [[[], ['role:reader']], reader, {}, yes],
  [['role:x', ['role:reader', 'project_id:%(project_id)s']], reader, own, yes],
  [['role:x', ['role:reader', 'project_id:%(project_id)s']], reader, foreign, no],
  [['@'], nobody, {}, yes],
  [['!'], admin, {}, no],
];

const FAULTY: readonly (readonly [WrittenRule, RegExp])[] = [
  [' ', /is blank/],
  ['\t\n', /is blank/],
  ['admin', /not of the form kind:value/],
  ['*', /not of the form kind:value/],
  ['true', /not of the form kind:value/],
  [':', /not of the form kind:value/],
  [':x', /not of the form kind:value/],
  ["'role:admin'", /no name/],
  ['and', /'and' where a check is expected/],
  ['or @', /'or' where a check is expected/],
  ['not', /ends where a check is expected/],
  ['@ and', /ends where a check is expected/],
  ['@ or', /ends where a check is expected/],
  ['@ and and @', /'and' where a check is expected/],
  ['@ @', /no 'and' or 'or' before '@'/],
  ['role:a role:b', /before 'role:b'/],
  ['@ not @', /before 'not'/],
  ['(', /ends where a check is expected/],
  [')', /'\)' where a check is expected/],
  ['()', /'\)' where a check is expected/],
  ['(@', /lacks a '\)'/],
  ['@)', /'\)' too many/],
  ['((@)', /lacks a '\)'/],
  ['(@))', /'\)' too many/],
  ['not(role:admin)', /no name/],
  ['not:role:admin', /no name/],
  ['role:admin or(role:reader)', /before 'or\(role:reader'/],
  ["'a b':%(x)s", /not of the form|no name/],
  ['project_id:%(x)d', /'%' that begins no/],
  ['project_id:%', /'%' that begins no/],
  ['project_id:%s', /'%' that begins no/],
  ['project_id:100%', /'%' that begins no/],
  ['role:%(x', /'%' that begins no/],
  ['http://policy.example/check', /asks another server/],
  ['https://policy.example/check', /asks another server/],
  ['role:admin or http://169.254.169.254/', /asks another server/],
  ['`id`:x', /no name/],
  ['$(id):x', /no name/],
  ['{}:x', /no name/],
  ['[1,2]:x', /no name/],
  ["'\\x41':x", /no name/],
  [[['admin']], /not of the form kind:value/],
  [[['role:admin and role:reader', 'x']], /not of the form kind:value/],
  [['http://policy.example'], /asks another server/],
  ['('.repeat(60) + '@' + ')'.repeat(60), /nested more than 50 deep/],
  ['not '.repeat(60) + '@', /nested more than 50 deep/],
  ['role:a or '.repeat(5000) + '@', /longer than 20000 characters/],
];

describe('the policy language', () => {
  for (const [rule, caller, target, expected] of CASES) {
    const who = `${caller.userId ?? 'nobody'} of ${caller.projectId}`;
    test(`${JSON.stringify(rule)} ${expected ? 'passes' : 'stops'} ${who} at ${JSON.stringify(target)}`, () => {
      assert.equal(passes(rule, caller, target), expected);
    });
  }

  for (const [rule, message] of FAULTY) {
    const shown = JSON.stringify(rule).slice(0, 60);
    test(`${shown} is refused with a reason`, () => {
      const { fault } = parseRule(rule);
      assert.match(fault?.message ?? 'accepted', message);
      assert.ok(fault!.message.length < 200);
    });
  }

  test('rules are judged as oslo.policy judges them', () => {
    const vectors = JSON.parse(
      readFileSync(new URL('./auth-policy-vectors.json', import.meta.url), 'utf8'),
    ) as {
      named: Record<string, string>;
      callers: Partial<Caller>[];
      targets: PolicyTarget[];
      rules: [WrittenRule, string][];
    };
    assert.ok(vectors.rules.length >= 400);
    for (const [rule, expected] of vectors.rules) {
      const rules = rulesOf({ ...vectors.named, asked: rule });
      const judged = vectors.callers.flatMap((caller) =>
        vectors.targets.map((target) => rules.allows('asked', factsOf({ ...nobody, ...caller }), target)),
      );
      assert.equal(judged.map(Number).join(''), expected, JSON.stringify(rule));
    }
  });

  test('a rule leans on another one', () => {
    const rules = rulesOf({ a: 'rule:b and not rule:c', b: '@', c: '!', d: 'not rule:a' });
    const allows = (name: string) => rules.allows(name, factsOf(nobody), {});
    assert.deepEqual(['a', 'b', 'c', 'd'].map(allows), [yes, yes, no, no]);
  });

  test('a rule that does not exist stops everybody, whatever the rule default says', () => {
    assert.equal(rulesOf({ default: '@' }).allows('missing', factsOf(admin), {}), no);
    assert.equal(rulesOf({ default: '@' }).allows('__proto__', factsOf(admin), {}), no);
  });

  test('a rule that leans on one that does not exist is a fault', () => {
    assert.deepEqual(faultsOf({ a: 'role:x or rule:bb', bbb: '@' }), [
      "a leans on the rule 'bb', which does not exist",
    ]);
    assert.equal(faultsOf({ a: 'rule:' }).length, 1);
    assert.equal(faultsOf({ a: 'rule:__proto__' }).length, 1);
  });

  test('rules that lean on themselves are faults, at each of them', () => {
    assert.deepEqual(faultsOf({ a: 'rule:a' }), ['a leans on itself (a → a)']);
    const circle = faultsOf({ start: 'rule:a', a: 'not rule:b', b: '@ or (rule:c and @)', c: 'rule:a' });
    assert.deepEqual(
      circle.map((fault) => fault.split(' ')[0]),
      ['a', 'b', 'c'],
    );
  });

  test('a chain of rules has an end', () => {
    const chain = (length: number) =>
      Object.fromEntries(
        Array.from({ length }, (_, index) => [
          `r${index}`,
          index === length - 1 ? '@' : `rule:r${index + 1}`,
        ]),
      );
    assert.deepEqual(faultsOf(chain(50)), []);
    assert.ok(faultsOf(chain(51)).length > 0);
    assert.ok(faultsOf(chain(50_000)).length > 0);
    const reversed = Object.fromEntries(Object.entries(chain(50_000)).reverse());
    assert.ok(faultsOf(reversed).length > 0);
  });

  test('rules that name each other many times are judged once each', () => {
    const doubling = Object.fromEntries(
      Array.from({ length: 49 }, (_, index) => [`r${index}`, `not rule:r${index + 1} or rule:r${index + 1}`]),
    );
    const rules = rulesOf({ ...doubling, r49: '! and @' });
    const began = performance.now();
    for (let index = 0; index < 100; index++) rules.allows('r0', factsOf(admin), {});
    assert.ok(performance.now() - began < 2000);
  });

  test('the default rules are whole', () => {
    const { faults } = PolicyRules.from(defaultRules());
    assert.equal(faults, undefined);
    assert.equal(Object.keys(DEFAULT_RULES).length, 38);
  });
});

const word = fc.oneof(
  fc.constantFrom('and', 'or', 'not', '(', ')', '@', '!', 'role:admin', 'rule:a', 'rule:b', 'rule:c'),
  fc.constantFrom(
    'project_id:%(project_id)s',
    "'x':%(x)s",
    'True:%(y)s',
    'is_admin:True',
    'http://x',
    '%',
    '"',
  ),
  fc.constantFrom(...HOSTILE_TEXTS),
  fc.string({ unit: 'binary', maxLength: 8 }),
);
const text = fc.array(word, { maxLength: 12 }).map((words) => words.join(' '));
const written: fc.Arbitrary<WrittenRule> = fc.oneof(
  text,
  fc.array(fc.oneof(word, fc.array(word, { maxLength: 3 })), { maxLength: 3 }),
);
const caller = fc.record({
  userId: fc.option(fc.string(), { nil: undefined }),
  projectId: fc.option(fc.constantFrom('p1', 'None', ''), { nil: undefined }),
  projectName: fc.constant(undefined),
  domainId: fc.option(fc.string(), { nil: undefined }),
  systemScope: fc.option(fc.constant('all'), { nil: undefined }),
  roles: fc.array(fc.constantFrom('admin', 'READER', '', '__proto__')),
  isAdminProject: fc.boolean(),
  isAdmin: fc.boolean(),
  isAnonymous: fc.constant(false),
});
const target = fc.dictionary(
  fc.oneof(fc.constantFrom('project_id', 'x', 'y'), fc.string()),
  fc.oneof(fc.constant(null), fc.string()),
) as fc.Arbitrary<PolicyTarget>;

describe('any text at all', () => {
  const seed = sampleSeed();

  test(`never makes the parser or the rules throw or loop (seed ${seed})`, () => {
    const property = fc.property(fc.tuple(written, written, written), caller, target, (texts, who, what) => {
      const names = ['a', 'b', 'c'];
      const parsed = texts.map(parseRule);
      if (parsed.some(({ rule }) => rule === undefined)) return;
      const { rules } = PolicyRules.from(new Map(parsed.map(({ rule }, index) => [names[index]!, rule!])));
      for (const name of names)
        assert.equal(typeof (rules?.allows(name, factsOf(who), what) ?? no), 'boolean');
    });
    fc.assert(property, { seed, numRuns: 3000 });
  });

  test(`is stopped or passed the other way round by 'not' (seed ${seed})`, () => {
    const property = fc.property(text, caller, target, (rule, who, what) => {
      const { rule: plain } = parseRule(rule);
      const { rule: negated } = parseRule(`not ( ${rule} )`);
      if (plain === undefined || negated === undefined) return;
      const { rules } = PolicyRules.from(
        new Map([
          ['plain', plain],
          ['negated', negated],
        ]),
      );
      if (rules === undefined) return;
      const judged = ['plain', 'negated'].map((name) => rules.allows(name, factsOf(who), what));
      assert.notEqual(judged[0], judged[1], rule);
    });
    fc.assert(property, { seed, numRuns: 2000 });
  });
});
