export const load = ({ locals: { session } }: { locals: App.Locals }) => ({ user: session.userId })
