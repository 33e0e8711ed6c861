export { type Agent, agent } from './agent.ts'
export { type FakeClock, fakeClock } from './clock.ts'
export { edit, signIn } from './cookies.ts'
export {
  type OptionalCapability,
  type Runner,
  type StoreOpener,
  type StoreUnderTest,
  storeSuite,
} from './store-suite.ts'
