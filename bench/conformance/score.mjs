// Scores results: what passed, what did not and why, and whether that is what
// expected.json says.

// good are the outcomes of a test of which nothing needs to be said.
const good = new Set(['pass', 'yes', 'no'])

// score judges every test. It gives the counts, and the tests that are not good
// with their outcome and message, in the suite's order.
export function score (suite, results) {
  const counts = {
    required: { pass: 0, of: 0 },
    optimal: { pass: 0, of: 0 },
    check: { yes: 0, no: 0, undecided: 0 }
  }
  const failures = []
  for (const test of suite.tests) {
    const outcome = suite.judge(results, test.id)
    if (test.kind === 'check') {
      counts.check[good.has(outcome) ? outcome : 'undecided']++
    } else {
      counts[test.kind].of++
      if (outcome === 'pass') counts[test.kind].pass++
    }
    if (!good.has(outcome)) failures.push({ ...test, outcome, message: message(suite, results, test, outcome) })
  }
  return { counts, failures }
}

function message (suite, results, test, outcome) {
  if (outcome === 'dependency failed') {
    const failed = test.dependsOn.filter(id => !['pass', 'yes'].includes(suite.judge(results, id)))
    return `it depends on ${failed.join(', ')}; by itself: ${own(results[test.id])}`
  }
  return own(results[test.id])
}

// own is a result of the suite's in words.
export function own (result) {
  return result === true ? 'passed' : result === undefined ? 'not run' : result.join(': ')
}

// unexpected are the tests whose own results let a required or optimal test fail that
// is not expected to: that test, or those that it depends on.
export function unexpected (suite, results, expected) {
  const byID = new Map(suite.tests.map(test => [test.id, test]))
  const found = new Set()
  const blame = id => {
    if (results[id] !== true) found.add(id)
    byID.get(id)?.dependsOn.forEach(blame)
  }
  for (const { id, kind } of score(suite, results).failures) {
    if (kind !== 'check' && !(id in expected)) blame(id)
  }
  return [...found].filter(id => !(id in expected))
}

// hold compares failures with the list of those that are expected. Only required
// and optimal tests count: a check has no wrong answer. It gives what contradicts
// the list, a line each.
export function hold (suite, failures, expected) {
  const failed = new Set(failures.filter(test => test.kind !== 'check').map(test => test.id))
  const known = new Set(suite.tests.map(test => test.id))
  const wrong = []
  for (const id of failed) {
    if (!(id in expected)) wrong.push(`${id} fails and is not expected to`)
  }
  for (const id of Object.keys(expected)) {
    if (!known.has(id)) wrong.push(`${id} is expected to fail but is no test of the suite`)
    else if (!failed.has(id)) wrong.push(`${id} passes: take it off the list of expected failures`)
  }
  return wrong
}

// report is the score as text.
export function report (suite, { counts, failures }, expected) {
  const extra = kind => {
    const n = suite.forBrowsers.filter(test => test.kind === kind).length
    return n === 0 ? '' : `   (${n} more are for browsers only)`
  }
  const lines = []
  for (const [kind, title] of [['required', 'Required'], ['optimal', 'Optimal'], ['check', 'Undecided checks']]) {
    const of = failures.filter(test => test.kind === kind)
    if (of.length === 0) continue
    lines.push(`${title} tests that do not pass:`)
    for (const test of of) {
      lines.push(`  ${test.id}: ${test.outcome}`, `    ${test.name}`)
      if (test.spec.length > 0) lines.push(`    RFC 9111 ${test.spec.map(anchor => '#' + anchor).join(' ')}`)
      lines.push(`    ${test.message}`)
      if (test.id in expected) lines.push(`    expected: ${expected[test.id]}`)
    }
    lines.push('')
  }
  lines.push(
    `required  ${counts.required.pass} of ${counts.required.of}${extra('required')}`,
    `optimal   ${counts.optimal.pass} of ${counts.optimal.of}${extra('optimal')}`,
    `check     ${counts.check.yes} yes, ${counts.check.no} no, ${counts.check.undecided} undecided`)
  return lines.join('\n')
}

// changes are the differences in outcome between two results, a line each.
export function changes (suite, before, after) {
  return suite.tests.flatMap(({ id }) => {
    const [was, is] = [suite.judge(before, id), suite.judge(after, id)]
    return was === is ? [] : [`${id}: ${was} -> ${is}`]
  })
}
