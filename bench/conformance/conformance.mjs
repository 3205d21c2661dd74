// Runs the public HTTP cache test suite against the edge and scores it.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { readExpected } from './expected.mjs'
import { freePort, Processes } from './processes.mjs'
import { changes, hold, own, report, score, unexpected } from './score.mjs'
import { load } from './suite.mjs'

const usage = `usage: bench/conformance/run [options]

Runs the public HTTP cache test suite (npm http-cache-tests) against bin/freshet and
holds its score: it fails if a test fails that expected.json does not name, and if one
passes that it does.

  --id ID          run only this test (repeatable), showing all that goes over the wire
  --chunk N        tests run at the same time (default 50)
  --out FILE       where the results go, in the suite's own form (default .tools/conformance/results.json)
  --compare FILE   show what changed since these results
  --edge FILE      the edge's binary (default bin/freshet)
  --suite DIR      another copy of the suite, with what it needs installed: of the package, or of its
                   repository (https://github.com/http-tests/cache-tests). Nothing is held then
  --base URL       a cache that runs already, in place of the edge; with --origin-port N, the
                   port of 127.0.0.1 where it expects the origin. Nothing is held then
  --help
`

// fewFailures is up to how many unexpected failures are run again, each alone: a
// suite of sleeps can stumble on a busy machine; more than these are no stumble.
const fewFailures = 25

const here = fileURLToPath(new URL('.', import.meta.url))
const root = resolve(here, '../..')
const tools = join(root, '.tools/conformance')

async function main () {
  const { values: options } = parseArgs({
    options: {
      id: { type: 'string', multiple: true },
      chunk: { type: 'string', default: '50' },
      out: { type: 'string', default: join(tools, 'results.json') },
      compare: { type: 'string' },
      suite: { type: 'string' },
      base: { type: 'string' },
      edge: { type: 'string', default: join(root, 'bin/freshet') },
      'origin-port': { type: 'string' },
      help: { type: 'boolean' }
    }
  })
  if (options.help) {
    process.stdout.write(usage)
    return 0
  }
  const dir = resolve(options.suite ?? join(tools, 'node_modules/http-cache-tests'))
  const held = !options.suite && !options.base
  const suite = await load(dir)
  const expected = options.base ? {} : readExpected(join(here, 'expected.json'))
  const processes = new Processes()
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, () => processes.end().then(() => process.exit(1)))
  }
  try {
    const base = await serve(processes, dir, options)
    const run = (ids, chunk, dump) => processes.client(dir, base, chunk, ids, dump)
    if (options.id) {
      return judgeAlone(suite, options.id, await run(options.id, 1, true))
    }
    const results = await run(suite.tests.map(test => test.id), Number(options.chunk))
    if (!options.base) await again(suite, expected, results, run)
    return conclude(suite, expected, results, held, options)
  } finally {
    await processes.end()
  }
}

// serve starts the origin, and the edge unless another cache is named. It gives the
// URL to test.
async function serve (processes, dir, options) {
  mkdirSync(tools, { recursive: true })
  const port = Number(options['origin-port'] ?? await freePort())
  await processes.origin(dir, port, join(tools, 'origin.log'))
  if (options.base) return options.base.replace(/\/$/, '')
  const [listen, admin] = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`]
  await processes.edge(options.edge, [
    'edge', '--upstream', `http://127.0.0.1:${port}`, '--site', join(here, 'site.yaml'),
    '--listen', listen, '--admin', admin, '--log-level', 'debug'
  ], admin, join(tools, 'edge.log'))
  return `http://${listen}`
}

function judgeAlone (suite, ids, results) {
  let failed = 0
  for (const id of ids) {
    const result = results[id]
    if (result !== true) failed++
    console.log(`${id}: ${result === undefined ? 'no such test' : result === true ? 'pass' : result.join(': ')}`)
  }
  return failed === 0 ? 0 : 1
}

// again runs unexpected failures a second time, each alone, and keeps what passes;
// also those that made others fail which depend on them.
async function again (suite, expected, results, run) {
  const stumbled = unexpected(suite, results, expected)
  if (stumbled.length === 0 || stumbled.length > fewFailures) return
  for (const id of stumbled) {
    const second = (await run([id], 1))[id]
    const verdict = second === true ? 'passes; that counts' : `fails again: ${own(second)}`
    console.log(`run again alone, ${id} ${verdict} (at first: ${own(results[id])})`)
    results[id] = second
  }
  console.log('')
}

function conclude (suite, expected, results, held, options) {
  mkdirSync(dirname(resolve(options.out)), { recursive: true })
  writeFileSync(options.out, JSON.stringify(results, null, 2) + '\n')
  const scored = score(suite, results)
  console.log(report(suite, scored, expected))
  if (options.compare) {
    const changed = changes(suite, JSON.parse(readFileSync(options.compare, 'utf8')), results)
    console.log(`\nchanged since ${options.compare}:`, changed.length === 0 ? 'nothing' : '\n  ' + changed.join('\n  '))
  }
  if (!held) return 0
  const wrong = hold(suite, scored.failures, expected)
  console.log(wrong.length === 0
    ? '\nas bench/conformance/expected.json says'
    : `\nNot as bench/conformance/expected.json says:\n  ${wrong.join('\n  ')}`)
  return wrong.length === 0 ? 0 : 1
}

main().then(code => { process.exitCode = code }, err => {
  console.error(err.code?.startsWith('ERR_PARSE_ARGS') ? `${err.message}\n\n${usage}` : err)
  process.exitCode = 1
})
