import { fileStore } from 'holdfast/stores/file'

/** Opens the store of a test again, in another process. */
export default (config: unknown) => fileStore((config as { folder: string }).folder)
