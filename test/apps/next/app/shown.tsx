'use client'
import type { ReadonlyData } from 'holdfast/next'
import type { Visitor } from '../sessions.ts'

/** What goes to the browser as properties of a client component. */
export function Shown({ data }: { data: ReadonlyData<Visitor> }) {
  const { cart, since, seen } = data
  return <pre id="shown">{JSON.stringify({ cart, year: since?.getFullYear(), seen: seen && [...seen] })}</pre>
}
