/** Asks for what all owners have, for administrators. It has to be said: an owner that was forgotten asks for nothing. */
export const EVERY_OWNER: unique symbol = Symbol('every owner');

/** Whose rows are asked for. */
export type Owner = string | typeof EVERY_OWNER;
