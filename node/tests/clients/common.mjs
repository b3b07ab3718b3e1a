// What all scripts share. Prints the hash of every transaction, for the test to look for its bytes.
import { readFileSync } from 'node:fs'

export const [url, key, marker, contracts] = process.argv.slice(2)
export const abi = JSON.parse(readFileSync(`${contracts}/Token.abi.json`, 'utf8'))
const creation = readFileSync(`${contracts}/Token.creation.hex`, 'utf8').trim()
export const bytecode = creation.startsWith('0x') ? creation : `0x${creation}`
/** How far beyond the next nonce a transaction waits for ever. */
export const GAP = 7
export const hash = (of) => console.log(of)
export const expect = (holds, what) => {
  if (!holds) throw new Error(`expected otherwise: ${what}`)
}
