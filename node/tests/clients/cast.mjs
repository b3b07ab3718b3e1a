// Foundry's cast, as a person uses it.
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { GAP, bytecode, expect, hash, key, marker, url } from './common.mjs'

// The package's launcher swallows the exit code, so the program itself is called.
const packages = fileURLToPath(new URL('node_modules/@foundry-rs/', import.meta.url))
const platform = readdirSync(packages).find((name) => name.startsWith('cast-'))
const program = process.env.CAST ?? `${packages}${platform}/bin/cast`
const env = { ...process.env, ETH_RPC_URL: url }
const run = (...args) => spawnSync(program, args, { encoding: 'utf8', timeout: 120_000, env })
const cast = (...args) => {
  const { status, stdout, stderr } = run(...args)
  expect(status === 0, `cast ${args.join(' ').slice(0, 200)}: ${stderr}`)
  return stdout.trim()
}
const send = (...args) => {
  const receipt = JSON.parse(cast('send', '--private-key', key, '--poll-interval', '1', '--json', ...args))
  hash(receipt.transactionHash)
  expect(receipt.status === '0x1', `status of ${receipt.transactionHash}`)
  return receipt
}
const address = cast('wallet', 'address', key)

// Send ether.
const before = BigInt(cast('balance', marker))
send(marker, '--value', '0.25ether')
expect(BigInt(cast('balance', marker)) - before === 250_000_000_000_000_000n, 'balance')

// Deploy.
const deployed = send('--create', bytecode, 'constructor(string,string,uint256)', 'Marked', 'MRK', '1000000000000000000000')
const token = deployed.contractAddress
expect(cast('code', token).length > 2, 'code')

// Call it; legacy transactions too.
const called = send('--legacy', token, 'transfer(address,uint256)', marker, '123456789')
expect(cast('call', token, 'balanceOf(address)(uint256)', marker).startsWith('123456789'), 'tokens')

// Read logs.
const logs = JSON.parse(cast('logs', '--json', '--from-block', deployed.blockNumber, '--address', token, 'Transfer(address,address,uint256)'))
expect(logs.length === 2 && logs[1].transactionHash === called.transactionHash, 'logs')

// Replace one that waits: nonce n + 1 before n.
const nonce = Number(cast('nonce', '--block', 'pending', address))
const base = BigInt(cast('gas-price'))
const fees = (times) => ['--gas-price', String(base * times), '--priority-gas-price', String(base / 2n * times), '--gas-limit', '100000']
const waiting = (amount, times) => ['send', '--private-key', key, '--async', '--nonce', String(nonce + 1), ...fees(times), token, 'transfer(address,uint256)', marker, amount]
const first = cast(...waiting('1', 2n))
hash(first)
expect(JSON.parse(cast('tx', first, '--json')).blockNumber == null, 'it waits')
const cheap = run(...waiting('2', 2n))
expect(cheap.status !== 0 && /replacement transaction underpriced/.test(cheap.stderr), `too cheap: ${cheap.stderr}`)
const second = cast(...waiting('2', 4n))
hash(second)
send('--nonce', String(nonce), marker, '--value', '1')
const receipt = JSON.parse(cast('receipt', '--json', second))
expect(receipt.status === '0x1', 'replaced')
const gone = run('receipt', '--async', first)
expect(gone.status !== 0, 'the first has no receipt')

// Time out on one that waits for a nonce that never comes.
const late = run('send', '--private-key', key, '--timeout', '2', '--nonce', String(nonce + GAP), '--gas-limit', '21000', marker, '--value', '1')
expect(late.status !== 0 && /not confirmed|timed? ?out|timeout/i.test(late.stderr), `timeout: ${late.stderr}`)
expect(Number(cast('nonce', '--block', 'pending', address)) === nonce + 2, 'a gap is not counted')

// EIP-7966: executed within the time, held beyond it.
const raw = (...args) => cast('mktx', '--private-key', key, ...args)
const sync = JSON.parse(cast('rpc', 'eth_sendRawTransactionSync', raw('--nonce', String(nonce + 2), marker, '--value', '3'), '0xea60'))
hash(sync.transactionHash)
expect(sync.status === '0x1', 'sync')
const short = run('rpc', 'eth_sendRawTransactionSync', raw('--nonce', String(nonce + 3), marker, '--value', '4'), '0x1')
expect(short.status !== 0 && /error code 4/.test(short.stderr), `sync timeout: ${short.stderr}`)
