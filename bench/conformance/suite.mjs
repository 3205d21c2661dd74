// The suite as it is installed: its tests, and its own judgement of their results.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

// outcomes names the symbols that the suite's judge gives.
const outcomes = {
  '✅': 'pass',
  Y: 'yes',
  N: 'no',
  '⛔️': 'fail',
  '⚠️': 'not optimal',
  '🔹': 'setup failed',
  '⁉️': 'harness failed',
  '⚪️': 'dependency failed',
  '↻': 'retried by the cache',
  '-': 'not run'
}

// load reads the suite in dir. What it gives:
//   tests      every test that is meant for a proxy, with kind and spec filled in
//   judge      (results, id) => outcome: what the suite's own pages would show
//   run        (ids, base, chunk, fetch) => results, as the suite's own client gets them
export async function load (dir) {
  const part = file => import(pathToFileURL(join(dir, file)).href)
  const sections = (await part('tests/index.mjs')).default
  const { determineTestResult } = await part('lib/display.mjs')
  const runner = await part('client/runner.mjs')

  const all = sections.flatMap(section => section.tests.map(test => ({
    id: test.id,
    name: test.name,
    kind: test.kind ?? 'required',
    spec: test.spec_anchors ?? section.spec_anchors ?? [],
    section: section.id,
    dependsOn: test.depends_on ?? [],
    forBrowsers: test.browser_only === true
  })))

  const judge = (results, id) => {
    const symbol = determineTestResult(sections, id, results)[2]
    if (!(symbol in outcomes)) throw new Error(`the suite's judge says "${symbol}" of ${id}, which is new`)
    return outcomes[symbol]
  }

  const run = async (ids, base, chunk, dump, fetch) => {
    const wanted = sections.map(section => ({
      ...section,
      tests: section.tests.filter(test => ids.includes(test.id)).map(test => Object.assign(test, { dump }))
    }))
    await runner.runTests(wanted, fetch, false, base, chunk)
    return runner.getResults()
  }

  return {
    tests: all.filter(test => !test.forBrowsers),
    forBrowsers: all.filter(test => test.forBrowsers),
    judge,
    run
  }
}
