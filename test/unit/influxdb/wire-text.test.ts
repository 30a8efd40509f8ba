import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HOSTILE_TEXTS } from '../../../core/testkit/hostile-texts.js';
import { fromOwnTag, ownTag } from '../../../plugins/shared/outside-storage/owner.js';
import {
  identifier,
  lineString,
  lineToken,
  literal,
  tagText,
  timeLiteral,
} from '../../../plugins/storage/influxdb/wire-text.js';

const TEXTS = [...HOSTILE_TEXTS, '', '|', '%', '%007c', '\ud800', 'a\udc00b', '\ud83d\udc08'];

test("texts of Ratecat's own tags come back as they were, are never empty and stay apart", () => {
  for (const text of TEXTS) assert.equal(fromOwnTag(ownTag(text)), text);
  assert.equal(new Set(TEXTS.map(ownTag)).size, new Set(TEXTS).size);
  for (const text of TEXTS) assert.match(ownTag(text), /^[^\p{Cc}\p{Cs}\\|]+$/u);
});

test('ordinary texts are stored as they are', () => {
  for (const text of ['m1.small', 'a b', 'a=b,c', 'é', '日本語', '🐈', 'C:\\Users\\x', "it's", '"q"']) {
    assert.equal(tagText(text), text);
    if (!text.includes('\\')) assert.equal(ownTag(text), text);
  }
});

test('a tag has no end of a line and no backslash that line protocol could take for an escape', () => {
  for (const text of TEXTS) assert.match(tagText(text), /^(?:[^\p{Cc}\p{Cs}\\]|\\(?=[^\\ ,="]))*$/u);
  assert.equal(tagText('a\\'), 'a/');
  assert.equal(tagText('a\\ b\\,c\\=d\\\\e\n'), 'a/ b/,c/=d/\\e ');
});

test('a token of line protocol ends at no blank, comma or equals sign of its text', () => {
  for (const text of TEXTS.map(tagText)) {
    const token = lineToken(text);
    assert.match(token, /^(?:[^\\ ,=]|\\.)*$/su);
    assert.equal(token.replace(/\\([ ,=])/g, '$1'), text);
  }
});

test('quoted texts end where they should', () => {
  for (const text of TEXTS) {
    assert.match(lineString(text), /^"(?:[^"\\]|\\["\\])*"$/s);
    assert.match(identifier(text), /^"(?:[^"\\\n]|\\["\\n])*"$/s);
    assert.match(literal(text), /^'(?:[^'\\\n]|\\['\\n])*'$/s);
  }
  assert.equal(literal(`a' OR ''='\n\\`), `'a\\' OR \\'\\'=\\'\\n\\\\'`);
  assert.equal(identifier('a"; DROP DATABASE x\\'), '"a\\"; DROP DATABASE x\\\\"');
});

test('instants beyond what InfluxDB can hold are the first or last that it can', () => {
  assert.equal(timeLiteral(1_767_225_600), '1767225600s');
  assert.equal(timeLiteral(-3600), '-3600s');
  assert.equal(timeLiteral(Number.MAX_SAFE_INTEGER), '9223372036s');
  assert.equal(timeLiteral(-Number.MAX_SAFE_INTEGER), '-9223372036s');
});
