// permessage-deflate with the npm package `ws`, against a running server at FANFARE_URL (host:port).
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { it } from 'node:test'
import { WebSocket } from 'ws'

const server = process.env.FANFARE_URL
const rows = (n) => Array.from({ length: n }, (_, i) => ({ id: i, name: 'row', value: i * 7, note: 'the same text' }))

// Sets a document, follows it, and changes it; gives the messages, the bytes that came in and what was agreed.
const follow = async (key, perMessageDeflate) => {
  const set = (data) => fetch(`http://${server}/${key}`, { method: 'POST', body: JSON.stringify(data) })
  await set(rows(200))
  const ws = new WebSocket(`ws://${server}/${key}`, { perMessageDeflate })
  const messages = []
  const both = new Promise((resolve) => ws.on('message', (data, binary) => {
    assert.ok(binary)
    messages.push(JSON.parse(data))
    if (messages.length === 1) set(rows(201).reverse())
    if (messages.length === 2) resolve()
  }))
  await both
  const { extensions, _socket: { bytesRead } } = ws
  ws.close()
  await once(ws, 'close')
  return { data: messages.map((m) => m.data.data ?? m.data), extensions, bytesRead }
}

it('a client that offers gets the same documents in fewer bytes', async () => {
  const plain = await follow('deflate/plain', false)
  const small = await follow('deflate/small', true)
  assert.equal(plain.extensions, '')
  assert.equal(small.extensions, 'permessage-deflate')
  assert.deepEqual(small.data[0], rows(200))
  assert.equal(small.data.length, plain.data.length)
  assert.ok(small.bytesRead < plain.bytesRead / 3, `${small.bytesRead} of ${plain.bytesRead}`)
})

it('gzip for those who accept it', async () => {
  await fetch(`http://${server}/deflate/zip`, { method: 'POST', body: JSON.stringify(rows(100)) })
  const get = (encoding) => fetch(`http://${server}/deflate/zip`, { headers: { 'accept-encoding': encoding } })
  const [zipped, plain] = await Promise.all([get('gzip'), get('identity')])
  assert.equal(zipped.headers.get('content-encoding'), 'gzip')
  assert.equal(plain.headers.get('content-encoding'), null)
  assert.deepEqual(await zipped.json(), await plain.json())
})
