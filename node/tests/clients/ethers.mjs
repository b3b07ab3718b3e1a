// ethers as an application uses it, over WebSocket for reading and HTTP with batches for sending.
import { Contract, ContractFactory, JsonRpcProvider, Wallet, WebSocketProvider, parseEther } from 'ethers'
import { GAP, abi, bytecode, expect, hash, key, marker, url } from './common.mjs'

const provider = new JsonRpcProvider(url, undefined, { polling: true, pollingInterval: 100 })
const socket = new WebSocketProvider(url.replace('http', 'ws'))
const wallet = new Wallet(key, provider)
const done = async (sent) => {
  hash(sent.hash)
  const receipt = await sent.wait(1, 90_000)
  expect(receipt.status === 1, `status of ${sent.hash}`)
  return receipt
}

// Send ether.
const before = await socket.getBalance(marker)
await done(await wallet.sendTransaction({ to: marker, value: parseEther('0.25') }))
expect(await socket.getBalance(marker) - before === parseEther('0.25'), 'balance')

// Deploy.
const contract = await new ContractFactory(abi, bytecode, wallet).deploy('Marked', 'MRK', 10n ** 21n)
const deployed = await done(contract.deploymentTransaction())
const address = await contract.getAddress()
expect((await socket.getCode(address)).length > 2, 'code')

// Call it, and hear its event over the subscription.
const token = new Contract(address, abi, wallet)
let tell
const heard = new Promise((resolve, reject) => { tell = resolve; setTimeout(reject, 90_000, new Error('no event')).unref() })
await new Contract(address, abi, socket).once('Transfer', (_from, _to, amount) => tell(amount))
await socket.getBlockNumber()
await new Promise((resolve) => setTimeout(resolve, 300))
const called = await done(await token.transfer(marker, 123_456_789n))
expect(await token.balanceOf(marker) === 123_456_789n, 'tokens')
expect(await heard === 123_456_789n, 'subscription')

// Read logs.
const logs = await token.queryFilter('Transfer', deployed.blockNumber)
expect(logs.length === 2 && logs[1].args.amount === 123_456_789n, 'logs')
expect(logs[1].transactionHash === called.hash, 'hash of the log')

// Replace one that waits: nonce n + 1 before n.
const nonce = await provider.getTransactionCount(wallet.address, 'pending')
const { maxFeePerGas, maxPriorityFeePerGas } = await provider.getFeeData()
const fees = { maxFeePerGas, maxPriorityFeePerGas, gasLimit: 100_000n }
// (ethers looks for replacements of what a wallet sent, not of what a contract object sent.)
const transfer = async (amount, given) => wallet.sendTransaction({ ...await token.transfer.populateTransaction(marker, amount), nonce: nonce + 1, ...given })
const first = await transfer(1n, fees)
hash(first.hash)
expect((await provider.getTransaction(first.hash)).blockNumber === null, 'it waits')
const cheap = await transfer(2n, fees).then(() => null, (error) => error)
expect(cheap?.code === 'REPLACEMENT_UNDERPRICED', `too cheap: ${cheap}`)
const waits = first.wait(1, 90_000).then(() => null, (error) => error)
const dearer = { maxFeePerGas: maxFeePerGas * 2n, maxPriorityFeePerGas: maxPriorityFeePerGas * 2n, gasLimit: 100_000n }
const second = await transfer(2n, dearer)
hash(second.hash)
await done(await wallet.sendTransaction({ to: marker, value: 1n, nonce }))
await done(second)
const replaced = await waits
expect(replaced?.code === 'TRANSACTION_REPLACED' && replaced.replacement.hash === second.hash, `replaced: ${replaced}`)

// Time out on one that waits for a nonce that never comes.
const late = await wallet.sendTransaction({ to: marker, value: 1n, nonce: nonce + GAP, gasLimit: 21_000n })
hash(late.hash)
const timeout = await late.wait(1, 1_500).then(() => null, (error) => error)
expect(timeout?.code === 'TIMEOUT', `timeout: ${timeout}`)

// Not `destroy()`: it rejects what its pollers are asking at the moment, and nobody catches that.
process.exit(0)
