// The processes of a run: the suite's origin, the edge before it, and the suite's
// client. Everything is on loopback, on free ports.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, openSync, closeSync, readFileSync, rmSync } from 'node:fs'
import { createServer, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { server } from './suite.mjs'

const here = fileURLToPath(new URL('.', import.meta.url))

// startup is how long a server may take until it answers, in milliseconds.
const startup = 15_000

// freePort is a port of loopback that was free a moment ago.
export async function freePort () {
  const listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address()
  listener.close()
  await once(listener, 'close')
  return port
}

// Processes starts processes, and ends all that it started.
export class Processes {
  #running = []
  #dir = mkdtempSync(join(tmpdir(), 'conformance-'))

  // origin starts the suite's origin server.
  async origin (suite, port, log) {
    const child = this.#start('the suite\'s origin', log, process.execPath,
      ['--require', join(here, 'loopback.cjs'), server(suite)],
      {
        cwd: suite,
        env: {
          ...process.env,
          npm_config_protocol: 'http',
          npm_config_port: String(port),
          npm_config_pidfile: join(this.#dir, 'origin.pid')
        }
      })
    await this.#answering(child, log, () => accepts(port))
  }

  // edge starts a cache before the origin, and waits until it is ready.
  async edge (binary, args, admin, log) {
    const child = this.#start('the edge', log, binary, args, {})
    await this.#answering(child, log, async () => (await fetch(`http://${admin}/readyz`)).ok)
  }

  // client runs tests and gives their results in the suite's own form: by id, true
  // or [kind of failure, message].
  async client (suite, base, chunk, ids, dump) {
    const out = join(this.#dir, 'results.json')
    const child = spawn(process.execPath,
      ['--no-warnings', join(here, 'client.mjs'), suite, base, String(chunk), out, dump ? 'dump' : ''],
      { stdio: ['pipe', 'inherit', 'inherit'] })
    this.#running.push(child)
    child.stdin.end(JSON.stringify(ids))
    const [code, signal] = await once(child, 'exit')
    if (code !== 0) throw new Error(`the suite's client ended with ${signal ?? code}`)
    return JSON.parse(readFileSync(out, 'utf8'))
  }

  // end ends what still runs and waits for it.
  async end () {
    await Promise.all(this.#running.map(async child => {
      if (child.exitCode !== null || child.signalCode !== null) return
      const gone = once(child, 'exit')
      child.kill('SIGTERM')
      const late = setTimeout(() => child.kill('SIGKILL'), 5_000)
      await gone
      clearTimeout(late)
    }))
    rmSync(this.#dir, { recursive: true, force: true })
  }

  #start (what, log, binary, args, options) {
    const to = openSync(log, 'w')
    const child = spawn(binary, args, { ...options, stdio: ['ignore', to, to] })
    closeSync(to)
    child.what = what
    child.on('error', err => { child.failure = err })
    this.#running.push(child)
    return child
  }

  async #answering (child, log, probe) {
    for (const end = Date.now() + startup; Date.now() < end;) {
      if (child.failure) throw new Error(`${child.what}: ${child.failure.message}`)
      if (child.exitCode !== null) break
      if (await probe().catch(() => false)) return
      await new Promise(resolve => setTimeout(resolve, 50))
    }
    throw new Error(`${child.what} does not answer; its log ${log} ends:\n${readFileSync(log, 'utf8').slice(-2000)}`)
  }
}

async function accepts (port) {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } finally {
    socket.destroy()
  }
}
