import { describe, expect, it } from 'vitest'
import { createSeries } from '../src/dashboard/series.ts'

const START = 1_800_000_000_000

describe('curves', () => {
  it('have a value for each step since the start, zero or none where nothing happened', () => {
    const series = createSeries(10_000, 360, START)
    series.count(START, 'login')
    series.count(START + 9_999, 'login', 2)
    series.count(START + 30_000, 'error')
    series.live(START + 20_000, 7)
    const { start, step, counts, live, p50 } = series.read(START + 31_000)
    expect([start, step]).toEqual([START, 10_000])
    expect([counts.login, counts.error]).toEqual([
      [3, 0, 0, 0],
      [0, 0, 0, 1],
    ])
    expect([live, p50]).toEqual([
      [null, null, 7, null],
      [null, null, null, null],
    ])
  })

  it('keep the newest steps, and forget the others', () => {
    const series = createSeries(10_000, 360, START)
    for (let i = 0; i < 1_000; i++) series.count(START + i * 10_000, 'login', i)
    const { start, counts } = series.read(START + 9_990_000)
    expect(start).toBe(START + 6_400_000)
    expect([counts.login.length, counts.login[0], counts.login.at(-1)]).toEqual([360, 640, 999])
    expect(series.read(START + 100_000_000).counts.login).toEqual(Array(360).fill(0))
  })

  it('say the middle and the slowest of twenty durations, at most a quarter too much', () => {
    const series = createSeries(10_000, 360, START)
    for (let i = 1; i <= 100; i++) series.took(START, i)
    const { p50, p95, operations } = series.read(START)
    expect(operations).toEqual([100])
    expect(p50[0]).toBeGreaterThanOrEqual(50)
    expect(p50[0]).toBeLessThanOrEqual(50 * 1.25)
    expect(p95[0]).toBeGreaterThanOrEqual(95)
    expect(p95[0]).toBeLessThanOrEqual(95 * 1.25)
  })

  it('take the shortest and the longest durations', () => {
    const series = createSeries(10_000, 360, START)
    series.took(START, 0)
    series.took(START + 10_000, 3_600_000)
    const { p50 } = series.read(START + 10_000)
    expect(p50[0]).toBe(0.05)
    expect(p50[1]).toBeGreaterThan(60_000)
  })
})
