// viem as an application uses it: no address, fee, gas or nonce is given unless the step is about it.
import {
  WaitForTransactionReceiptTimeoutError, createPublicClient, createWalletClient, defineChain,
  encodeFunctionData, http, parseEther,
} from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { GAP, abi, bytecode, expect, hash, key, marker, url } from './common.mjs'

// Whom viem has asked about, so that a step can wait for it.
const asked = new Set()
const fetchFn = async (to, init) => {
  const response = await fetch(to, init)
  for (const { method, params } of [JSON.parse(init.body)].flat()) if (method === 'eth_getTransactionByHash') asked.add(params[0])
  return response
}
const transport = http(url, { batch: true, fetchFn })
const probe = createPublicClient({ transport })
const chain = defineChain({
  id: await probe.getChainId(),
  name: 'Blindfold',
  nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
  rpcUrls: { default: { http: [url] } },
  blockTime: 1_000,
})
const account = privateKeyToAccount(key)
const reads = createPublicClient({ chain, transport, pollingInterval: 100 })
const wallet = createWalletClient({ account, chain, transport, pollingInterval: 100 })
const done = async (sent) => {
  hash(sent)
  const receipt = await reads.waitForTransactionReceipt({ hash: sent, timeout: 90_000 })
  expect(receipt.status === 'success', `status of ${sent}`)
  return receipt
}

// Send ether.
const before = await reads.getBalance({ address: marker })
await done(await wallet.sendTransaction({ to: marker, value: parseEther('0.25') }))
expect(await reads.getBalance({ address: marker }) - before === parseEther('0.25'), 'balance')

// Deploy.
const deployed = await done(await wallet.deployContract({ abi, bytecode, args: ['Marked', 'MRK', 10n ** 21n] }))
const address = deployed.contractAddress
expect((await reads.getCode({ address })).length > 2, 'code')

// Call it: estimated, simulated and read without a word to anyone.
const { request } = await reads.simulateContract({ account, address, abi, functionName: 'transfer', args: [marker, 123_456_789n] })
const called = await done(await wallet.writeContract(request))
expect(await reads.readContract({ address, abi, functionName: 'balanceOf', args: [marker] }) === 123_456_789n, 'tokens')

// Read logs.
const logs = await reads.getContractEvents({ address, abi, eventName: 'Transfer', fromBlock: deployed.blockNumber })
expect(logs.length === 2 && logs[1].args.amount === 123_456_789n, 'logs')
expect(logs[1].transactionHash === called.transactionHash, 'hash of the log')

// Replace one that waits: nonce n + 1 before n.
const nonce = await reads.getTransactionCount({ address: account.address, blockTag: 'pending' })
const fees = await reads.estimateFeesPerGas()
const data = (amount) => encodeFunctionData({ abi, functionName: 'transfer', args: [marker, amount] })
const first = await wallet.sendTransaction({ to: address, data: data(1n), gas: 100_000n, nonce: nonce + 1, ...fees })
hash(first)
expect((await reads.getTransaction({ hash: first })).blockNumber === null, 'it waits')
let replaced
asked.clear()
const waits = reads.waitForTransactionReceipt({ hash: first, timeout: 30_000, onReplaced: (by) => { replaced = by } }).catch((error) => error)
for (let turn = 0; !asked.has(first) && turn < 1_200; turn += 1) await new Promise((resolve) => setTimeout(resolve, 50))
await new Promise((resolve) => setTimeout(resolve, 500))
const bumped = { maxFeePerGas: fees.maxFeePerGas * 2n, maxPriorityFeePerGas: fees.maxPriorityFeePerGas * 2n }
const again = { to: address, data: data(2n), gas: 100_000n, nonce: nonce + 1 }
const cheap = await wallet.sendTransaction({ ...again, ...fees }).then(() => '', (error) => error.message)
expect(/replacement transaction underpriced/.test(cheap), `too cheap: ${cheap}`)
const second = await wallet.sendTransaction({ ...again, ...bumped })
hash(second)
await done(await wallet.sendTransaction({ to: marker, value: 1n, nonce }))
// viem looks for the replacement in the blocks it hears of one at a time; on a busy machine it misses some.
const heard = await waits
if (heard instanceof WaitForTransactionReceiptTimeoutError) await done(second)
else expect(heard.transactionHash === second && replaced?.replacedTransaction.hash === first, `replaced: ${heard}`)
expect(await reads.getTransactionReceipt({ hash: first }).then(() => false, () => true), 'the first has no receipt')

// Time out on one that waits for a nonce that never comes.
const late = await wallet.sendTransaction({ to: marker, value: 1n, nonce: nonce + GAP, gas: 21_000n, ...fees })
hash(late)
const timeout = await reads.waitForTransactionReceipt({ hash: late, timeout: 1_500 }).then(() => null, (error) => error)
expect(timeout instanceof WaitForTransactionReceiptTimeoutError, `timeout: ${timeout}`)

// EIP-7966.
const sign = async (fields) => wallet.signTransaction(await wallet.prepareTransactionRequest({ to: marker, value: 2n, ...fields }))
const receipt = await wallet.sendRawTransactionSync({ serializedTransaction: await sign({}), timeout: 60_000 })
expect(receipt.status === 'success', 'sync')
hash(receipt.transactionHash)
const gap = await wallet.request({ method: 'eth_sendRawTransactionSync', params: [await sign({ nonce: nonce + GAP + 1, gas: 21_000n }), 500] })
  .then(() => null, (error) => error.walk?.((cause) => typeof cause.code === 'number') ?? error)
expect(gap?.code === 6, `gap: ${gap}`)
