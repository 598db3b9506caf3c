// Bytes per update of a real document: our patches and Fossil deltas between the same versions, bare and deflated.
// `npm ci && node compare.js DIR`, where `gate versions DIR COUNT` wrote DIR.
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { deflateRawSync } from 'node:zlib'
import { applyDelta, createDelta } from 'fossil-delta'

const dir = process.argv[2]
const read = name => new Uint8Array(readFileSync(join(dir, name)))
const count = readdirSync(dir).filter(name => name.endsWith('.snapshot')).length
const sums = { snapshot: [0, 0], patch: [0, 0], fossil: [0, 0] }
const add = (kind, bytes) => {
  sums[kind][0] += bytes.length
  sums[kind][1] += deflateRawSync(bytes).length
}
for (let i = 1; i < count; i++) {
  const [before, after] = [read(`${i - 1}.snapshot`), read(`${i}.snapshot`)]
  const delta = Uint8Array.from(createDelta(before, after))
  if (Buffer.compare(Buffer.from(applyDelta(before, delta)), Buffer.from(after))) throw Error(`delta ${i} is wrong`)
  add('snapshot', after)
  add('patch', read(`${i}.patch`))
  add('fossil', delta)
}
const updates = count - 1
for (const [kind, [bare, deflated]] of Object.entries(sums)) {
  const [of, ofDeflated] = sums.snapshot
  const percent = (part, whole) => `${((100 * part) / whole).toFixed(2)} %`
  console.log(`${kind.padEnd(9)} ${Math.round(bare / updates)} B (${percent(bare, of)})   ` +
    `deflated ${Math.round(deflated / updates)} B (${percent(deflated, ofDeflated)})`)
}
const [bare, deflated] = [0, 1].map(i => (sums.patch[i] / sums.fossil[i]).toFixed(2))
console.log(`a patch has ${bare} times the bytes of a Fossil delta, deflated ${deflated} times`)
