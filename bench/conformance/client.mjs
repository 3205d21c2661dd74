// The suite's client in a process of its own, since the suite keeps its state in
// its modules: client.mjs SUITE BASE CHUNK OUT [dump] < ids.
import { readFileSync, writeFileSync } from 'node:fs'
import { load } from './suite.mjs'

const [dir, base, chunk, out, dump] = process.argv.slice(2)
const suite = await load(dir)
const ids = JSON.parse(readFileSync(0, 'utf8'))
writeFileSync(out, JSON.stringify(await suite.run(ids, base, Number(chunk), dump === 'dump')))
process.exit() // connections that are kept alive would keep the process
