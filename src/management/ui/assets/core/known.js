// What all pages want to know of the broker: its overview, its vhosts. Loaded by the shell.

export const known = { overview: null, vhosts: [] };
