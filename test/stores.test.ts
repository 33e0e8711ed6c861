import { memoryStore } from 'holdfast/stores/memory'
import { describe, it } from 'vitest'
import { storeSuite } from '../src/testing/store-suite.ts'

storeSuite({ describe, it }, { name: 'memory', open: async () => ({ store: memoryStore() }) })
