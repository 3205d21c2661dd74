// The suite: its tests, its client, and its own judgement of their results. It is
// read as the package has it, and as its repository, which has moved on, does.
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
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

// timeout is how long one request may take, in milliseconds: a cache that hangs
// fails the test and not the run. The repository's client has its own.
const timeout = 20_000

// server is the suite's origin server in dir.
export const server = dir => join(dir, inRepository(dir) ? 'test-engine/server/server.mjs' : 'server/server.mjs')

const inRepository = dir => existsSync(join(dir, 'test-engine'))

// load reads the suite in dir. What it gives:
//   tests        every test that is meant for a proxy, with kind and spec filled in
//   forBrowsers  those that are not
//   judge        (results, id) => outcome: what the suite's own pages would show
//   run          (ids, base, chunk, dump) => results, as the suite's own client gets them
export async function load (dir) {
  const part = file => import(pathToFileURL(join(dir, file)).href)
  const sections = (await part('tests/index.mjs')).default
  const { determineTestResult } = await part(inRepository(dir) ? 'test-engine/lib/results.mjs' : 'lib/display.mjs')

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

  const run = async (ids, base, chunk, dump) => {
    const wanted = sections.map(section => ({
      ...section,
      tests: section.tests.filter(test => ids.includes(test.id)).map(test => Object.assign(test, { dump }))
    }))
    if (inRepository(dir)) {
      const runner = await part('test-engine/client/runner.mjs')
      await runner.runTests(wanted, false, base, chunk)
      return runner.getResults()
    }
    const runner = await part('client/runner.mjs')
    const fetch = createRequire(join(dir, 'package.json'))('node-fetch')
    await runner.runTests(wanted, (url, init) => fetch(url, { ...init, timeout }), false, base, chunk)
    return runner.getResults()
  }

  return {
    tests: all.filter(test => !test.forBrowsers),
    forBrowsers: all.filter(test => test.forBrowsers),
    judge,
    run
  }
}
