// The suite's client in a process of its own, since the suite keeps its state in
// its modules: client.mjs SUITE BASE CHUNK [dump] < ids > results.
import { createRequire } from 'node:module'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { load } from './suite.mjs'

// timeout is how long one request may take, in milliseconds: a cache that hangs
// fails the test and not the run.
const timeout = 20_000

const [dir, base, chunk, out, dump] = process.argv.slice(2)
const nodeFetch = createRequire(join(dir, 'package.json'))('node-fetch')
const fetch = (url, init) => nodeFetch(url, { ...init, timeout })

const suite = await load(dir)
const ids = JSON.parse(readFileSync(0, 'utf8'))
writeFileSync(out, JSON.stringify(await suite.run(ids, base, Number(chunk), dump === 'dump', fetch)))
