// The compiler keeps no file modes: the command line entry must be executable when the folder is linked or packed.
import { chmodSync } from 'node:fs';

chmodSync(new URL('../dist/bin/ratecat.js', import.meta.url), 0o755);
