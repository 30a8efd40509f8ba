import { chmodSync } from 'node:fs';

// The compiler keeps no file modes: the command line entry must be executable when the folder is linked or packed.
chmodSync(new URL('../dist/bin/ratecat.js', import.meta.url), 0o755);

// Only now: the program that the man pages describe has just been built.
await import('./man.mjs');
