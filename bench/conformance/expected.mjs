// The tests that are expected to fail: expected.json is a list of reasons with the
// tests that fail for each.
import { readFileSync } from 'node:fs'

// readExpected gives the reason by test.
export function readExpected (file) {
  const expected = {}
  for (const { reason, tests } of JSON.parse(readFileSync(file, 'utf8'))) {
    if (typeof reason !== 'string' || reason.trim() === '') throw new Error(`${file}: no reason for ${tests}`)
    for (const id of tests) {
      if (id in expected) throw new Error(`${file}: ${id} stands there twice`)
      expected[id] = reason
    }
  }
  return expected
}
