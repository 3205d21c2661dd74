import assert from 'node:assert/strict'
import test from 'node:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readExpected } from './expected.mjs'
import { changes, hold, report, score, unexpected } from './score.mjs'

// suite is a suite of six tests whose judge knows pass, fail and one dependency.
const named = (id, kind, dependsOn = []) => ({ id, kind, name: `name of ${id}`, spec: ['a.section'], dependsOn })
const suite = {
  tests: [
    named('good', 'required'), named('bad', 'required'), named('child', 'required', ['bad']),
    named('slow', 'optimal'), named('maybe', 'check'), named('lost', 'check', ['bad'])
  ],
  forBrowsers: [named('browser', 'required')],
  judge (results, id) {
    const { kind, dependsOn } = this.tests.find(test => test.id === id)
    if (results[id] === undefined) return 'not run'
    if (dependsOn.some(on => results[on] !== true)) return 'dependency failed'
    if (kind === 'check') return results[id] === true ? 'yes' : 'no'
    return results[id] === true ? 'pass' : kind === 'optimal' ? 'not optimal' : 'fail'
  }
}
const results = { good: true, bad: ['Assertion', 'why'], child: true, slow: true, maybe: ['Assertion', 'no'], lost: true }

test('counts by kind, dependencies included', () => {
  const { counts, failures } = score(suite, results)
  assert.deepEqual(counts, {
    required: { pass: 1, of: 3 }, optimal: { pass: 1, of: 1 }, check: { yes: 0, no: 1, undecided: 1 }
  })
  assert.deepEqual(failures.map(f => [f.id, f.outcome]), [
    ['bad', 'fail'], ['child', 'dependency failed'], ['lost', 'dependency failed']
  ])
  assert.equal(failures[0].message, 'Assertion: why')
  assert.match(failures[1].message, /depends on bad; by itself: passed/)
})

test('the list of expected failures is held both ways', () => {
  const { failures } = score(suite, results)
  assert.deepEqual(hold(suite, failures, { bad: 'a reason', child: 'depends on bad' }), [])
  assert.deepEqual(hold(suite, failures, { bad: 'a reason' }), ['child fails and is not expected to'])
  assert.deepEqual(hold(suite, failures, { bad: 'x', child: 'x', good: 'x' }),
    ['good passes: take it off the list of expected failures'])
  assert.deepEqual(hold(suite, failures, { bad: 'x', child: 'x', gone: 'x' }),
    ['gone is expected to fail but is no test of the suite'])
})

test('what is run again are the causes, be they checks', () => {
  assert.deepEqual(unexpected(suite, results, {}), ['bad'])
  assert.deepEqual(unexpected(suite, results, { bad: 'x' }), [], 'the cause is expected')
  assert.deepEqual(unexpected(suite, { ...results, slow: ['Assertion', 'late'] }, { bad: 'x', child: 'x' }), ['slow'])
  const needsCheck = { ...suite, tests: [named('maybe', 'check'), named('child', 'required', ['maybe'])] }
  assert.deepEqual(unexpected(needsCheck, { maybe: ['Setup', 'late'], child: true }, {}), ['maybe'])
})

test('a test that did not run has failed', () => {
  const { good, ...without } = results
  assert.ok(hold(suite, score(suite, without).failures, { bad: 'x', child: 'x' })[0].startsWith('good fails'))
})

test('the report names what failed, where it stands, and why it is expected', () => {
  const text = report(suite, score(suite, results), { bad: 'a reason' })
  for (const part of ['bad: fail', 'name of bad', 'RFC 9111 #a.section', 'expected: a reason', 'required  1 of 3   (1 more']) {
    assert.ok(text.includes(part), part)
  }
})

test('changes between two results', () => {
  assert.deepEqual(changes(suite, results, { ...results, bad: true }),
    ['bad: fail -> pass', 'child: dependency failed -> pass', 'lost: dependency failed -> yes'])
})

test('the list of expected failures is read by test, and has a reason for each', t => {
  const dir = mkdtempSync(join(tmpdir(), 'expected-'))
  t.after(() => rmSync(dir, { recursive: true }))
  const file = join(dir, 'expected.json')
  const read = list => {
    writeFileSync(file, JSON.stringify(list))
    return readExpected(file)
  }
  assert.deepEqual(read([{ reason: 'r', tests: ['a', 'b'] }, { reason: 's', tests: ['c'] }]), { a: 'r', b: 'r', c: 's' })
  assert.throws(() => read([{ reason: ' ', tests: ['a'] }]), /no reason for a/)
  assert.throws(() => read([{ tests: ['a'] }]), /no reason for a/)
  assert.throws(() => read([{ reason: 'r', tests: ['a'] }, { reason: 's', tests: ['a'] }]), /a stands there twice/)
})
