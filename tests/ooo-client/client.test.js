// The published ooo-client 1.0.0, unmodified, against a running server at FANFARE_URL (host:port).
// The scenarios are those of the client's own specification; every test keeps to keys of its own.
import './shims.js'
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

const { default: ooo } = await import('ooo-client')
const server = process.env.FANFARE_URL
assert.ok(server, 'FANFARE_URL=host:port says where the server is')

const copy = (value) => JSON.parse(JSON.stringify(value))
const empty = { created: 0, updated: 0, index: '', data: {} }

// A client for REST only, as its specification makes one.
const rest = () => Object.assign(ooo(), { httpUrl: 'http://' + server })

// Subscribes to `key`, runs `act(client)` once it is open, and gives the documents that arrived: `count` of them, and
// whatever surplus comes within a moment after.
const follow = (key, count, act) => new Promise((resolve, reject) => {
  const client = ooo(server + (key && '/' + key))
  const messages = []
  client.onmessage = async (message) => {
    messages.push(copy(message))
    if (messages.length !== count) return
    await sleep(300)
    client.close()
    resolve(messages)
  }
  client.onerror = (event) => {
    client.close()
    reject(new Error(event.message))
  }
  client.onopen = () => act?.(client).catch(reject)
})

// Opens `key`, lets `interrupt(client)` break the connection after the first message, and gives the messages and the
// URL of the second connection.
const comeBack = (key, interrupt, wanted) => new Promise((resolve, reject) => {
  const client = ooo(server + '/' + key)
  const messages = []
  let opened = 0
  let url
  const check = async () => {
    if (opened < 2 || messages.length < wanted) return
    await sleep(300)
    client.close()
    resolve({ url, messages })
  }
  client.onopen = () => {
    opened += 1
    url = client.ws.url
    check()
  }
  client.onmessage = (message) => {
    messages.push(copy(message))
    if (messages.length === 1) interrupt(client)
    check()
  }
  client.onerror = (event) => reject(new Error(event.message))
})

describe('ooo-client', { concurrency: true, timeout: 30_000 }, () => {
  it('follows an object: empty, created, updated, empty again', async () => {
    const states = [{ name: 'a box 🧰' }, { name: 'still a box 💾' }]
    const result = await follow('object', 4, async (client) => {
      await client.publish('object', states[0])
      await client.publish('object', states[1])
      await client.unpublish('object')
    })
    assert.equal(result.length, 4)
    assert.deepEqual(result[0], empty)
    assert.ok(result[1].created > 0)
    assert.equal(result[1].updated, 0)
    assert.equal(result[1].index, 'object')
    assert.equal(result[1].path, 'object')
    assert.deepEqual(result[1].data, states[0])
    assert.equal(result[2].created, result[1].created)
    assert.ok(result[2].updated > 0)
    assert.deepEqual(result[2].data, states[1])
    assert.deepEqual(result[3], empty)
  })

  it('follows a list: empty, created, updated, empty again', async () => {
    const states = [{ name: 'something 🧰' }, { name: 'still something 💾' }]
    const result = await follow('list/*', 4, async (client) => {
      const id = await client.publish('list/*', states[0])
      assert.equal(await client.publish('list/' + id, states[1]), id)
      await client.unpublish('list/' + id)
    })
    assert.equal(result.length, 4)
    assert.deepEqual(result[0], [])
    assert.equal(result[1].length, 1)
    assert.ok(result[1][0].created > 0)
    assert.equal(result[1][0].updated, 0)
    assert.deepEqual(result[1][0].data, states[0])
    assert.ok(result[2][0].updated > 0)
    assert.deepEqual(result[2][0].data, states[1])
    assert.deepEqual(result[3], [])
  })

  it('sees ten items come, change and go in exactly 22 messages', async () => {
    const samples = 10
    const result = await follow('things/*', 2 + 2 * samples, async (client) => {
      const ids = []
      for (let i = 0; i < samples; i++) ids.push(await client.publish('things/*', { name: 'name' + i }))
      for (const id of ids) await client.publish('things/' + id, { name: 'name' + id })
      await client.unpublish('things/*')
    })
    assert.equal(result.length, 22)
    const lengths = result.map((list) => list.length)
    assert.deepEqual(lengths, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...Array(11).fill(10), 0])
    assert.deepEqual(result[10].map((item) => item.data.name), [9, 8, 7, 6, 5, 4, 3, 2, 1, 0].map((i) => 'name' + i))
    for (const item of result[20]) assert.equal(item.data.name, 'name' + item.index)
  })

  it('gets the clock at once and every second', async () => {
    const result = await follow('', 3)
    for (const nanoseconds of result) assert.ok(Math.abs(nanoseconds / 1e6 - Date.now()) < 10_000)
    // One clock ticks for all, so the first tick comes within a second of the greeting.
    const [first, second] = [result[1] - result[0], result[2] - result[1]].map((nanoseconds) => nanoseconds / 1e6)
    assert.ok(first > 0 && first < 1_500, `${first} ms to the first tick`)
    assert.ok(second > 500 && second < 1_500, `${second} ms between two ticks`)
  })

  it('comes back with its version and receives nothing when nothing has changed', async () => {
    const { url, messages } = await comeBack('reconnect', (client) => client.close(true), 1)
    assert.match(url, /\?v=[0-9a-f]+$/)
    assert.deepEqual(messages, [empty])
  })

  it('comes back with its version and receives the state that it missed', async () => {
    await rest().publish('missed', { n: 1 })
    const { url, messages } = await comeBack('missed', async (client) => {
      client.close(true)
      await client.publish('missed', { n: 2 })
    }, 2)
    assert.match(url, /\?v=[0-9a-f]+$/)
    assert.deepEqual(messages.at(-1).data, { n: 2 })
  })

  it('tells the keys by stats()', async () => {
    const client = rest()
    const before = (await client.stats()).keys
    assert.ok(Array.isArray(before) && !before.includes('keys-box'))
    await client.publish('keys-box', { name: 'a box' })
    assert.ok((await client.stats()).keys.includes('keys-box'))
    await client.unpublish('keys-box')
    assert.ok(!(await client.stats()).keys.includes('keys-box'))
  })

  it('gets one item, and lists newest first', async () => {
    const client = rest()
    const single = async () => (await client.get('*')).filter((item) => item.path === 'get-box')
    assert.deepEqual(await single(), [])
    assert.equal(await client.publish('get-box', { name: 'a box' }), 'get-box')
    assert.deepEqual((await single()).map((item) => item.data), [{ name: 'a box' }])
    await client.unpublish('get-box')
    assert.deepEqual(await single(), [])

    assert.equal(await client.publish('box/1/things/1', { name: 'a thing in box 1' }), '1')
    await client.publish('box/2/things/0', { name: 'a thing in box 2' })
    const list = await client.get('box/*/things/*')
    assert.deepEqual(list.map((item) => item.path), ['box/2/things/0', 'box/1/things/1'])
    const one = await client.get('box/2/things/0')
    assert.deepEqual(one, list[0])
    assert.deepEqual(one.data, { name: 'a thing in box 2' })
  })

  it('publishes any JSON value and is told when there is nothing to unpublish', async () => {
    const client = rest()
    for (const value of [{ a: { b: [1, 'zwölf', null] } }, [1, 2], 'text', 12.5, null]) {
      assert.equal(await client.publish('publish/value', value), 'value')
      assert.deepEqual((await client.get('publish/value')).data, value)
    }
    assert.match(await client.publish('publish/*', 1), /^[0-9a-f]+$/)
    assert.equal((await client.unpublish('publish/*')).status, 204)
    assert.deepEqual(await client.get('publish/*'), [])
    await assert.rejects(client.unpublish('publish/value'), (error) => error.response.status === 404)
  })

  it('loses no change on the way to a list, whatever is done to it', async () => {
    const client = rest()
    const feed = 'steps/*'
    const steps = 30
    const result = await follow(feed, 1 + steps, async () => {
      const ids = []
      for (let step = 0; step < steps; step++) {
        const victim = ids[(step * 7) % (ids.length || 1)]
        if (step % 5 === 4) await client.unpublish('steps/' + ids.splice(ids.indexOf(victim), 1)[0])
        else if (step % 3 === 2) await client.publish('steps/' + victim, { step, tags: ['x', step] })
        else ids.push(await client.publish(feed, { step, tags: [] }))
      }
    })
    assert.equal(result.length, 1 + steps)
    assert.deepEqual(result.at(-1), await client.get(feed))
  })
})

describe('page lifecycle', { timeout: 30_000 }, () => {
  it('freezes, resumes with its version and has the state', async () => {
    // A page of its own: `resume` revives even the closed clients of a page.
    globalThis.document = new EventTarget()
    await rest().publish('lifecycle', { n: 1 })
    const { url, messages } = await comeBack('lifecycle', async (client) => {
      document.dispatchEvent(new Event('freeze'))
      await sleep(300)
      assert.equal(client.ws, null)
      await client.publish('lifecycle', { n: 2 })
      document.dispatchEvent(new Event('resume'))
    }, 2)
    assert.match(url, /\?v=[0-9a-f]+$/)
    assert.deepEqual(messages.map((message) => message.data), [{ n: 1 }, { n: 2 }])
  })
})
