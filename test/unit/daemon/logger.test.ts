import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { describe, it } from 'node:test';
import { DaemonLogger, type LogOptions } from '../../../core/daemon/logger.js';

function logging(options: Partial<LogOptions> = {}, hides?: (message: string) => boolean) {
  const lines: string[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk).trimEnd());
      done();
    },
  });
  const destination = hides === undefined ? { stream } : { stream, hides };
  return { lines, logger: DaemonLogger.create({ level: 'info', format: 'text', ...options }, destination) };
}

/** Without the time in front. */
function facts(lines: readonly string[]): readonly string[] {
  return lines.map((line) => line.replace(/^\S+Z /, ''));
}

describe('the log', () => {
  it('shows what its level allows, also of loggers made from it, and follows a change of level', () => {
    const { lines, logger } = logging();
    const child = logger.child({ scope: 'one' });
    logger.debug('hidden');
    child.debug('hidden too');
    logger.setLevel('debug');
    logger.debug('shown');
    child.debug('shown too', { points: 3 });
    logger.setLevel('error');
    logger.warn('hidden again');
    logger.error('always', { reason: 'a b' });
    assert.deepEqual(facts(lines), [
      'DEBUG shown',
      'DEBUG shown too scope=one points=3',
      'ERROR always reason="a b"',
    ]);
    assert.match(lines[0]!, /^\d{4}-\d\d-\d\dT[\d:.]+Z /);
  });

  it('writes JSON when asked to', () => {
    const { lines, logger } = logging({ format: 'json' });
    logger.info('rated', { points: 2 });
    const { level, message, points } = JSON.parse(lines[0]!);
    assert.deepEqual({ level, message, points }, { level: 'info', message: 'rated', points: 2 });
  });

  it('keeps secrets out of fields, nested ones and URLs', () => {
    const { lines, logger } = logging();
    const nested = { user: 'u', credentials: { key: 'k' }, list: ['mysql://u:hidden@host/db'] };
    logger.info('see mysql://u:hidden@host/db', { password: 'hidden', nested, adminToken: 'hidden' });
    assert.doesNotMatch(lines[0]!, /hidden|"k"/);
    assert.match(lines[0]!, /mysql:\/\/u:\*\*\*@host\/db/);
  });

  it('lets no value forge a line or steer the terminal', () => {
    const { lines, logger } = logging();
    logger.info('one\nERROR two', { scope: 'a\u001b[2J\r\nb', other: 'x\u2028y' });
    assert.equal(lines.length, 1);
    assert.doesNotMatch(lines[0]!, /[\p{Cc}\u2028]/u);
  });

  it('leaves out what the destination hides', () => {
    const { lines, logger } = logging({}, (message) => message === 'period rated');
    logger.info('period rated');
    logger.info('other');
    assert.deepEqual(facts(lines), ['INFO  other']);
  });
});
