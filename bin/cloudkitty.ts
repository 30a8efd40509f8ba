#!/usr/bin/env node
import 'reflect-metadata';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { dropIn } from '../core/cli/drop-in/drop-in.js';

/** How long a handle that somebody forgot to close may keep a finished command alive. */
const LINGER_MS = 2_000;

// A link with the name of CloudKitty's program points here.
const name = basename(process.argv[1]!);
// The processor starts its workers from here: they are Ratecat's own.
process.argv[1] = fileURLToPath(new URL('./ratecat.js', import.meta.url));
const { stdout, stderr, stdin, env } = process;
const world = { stdout, stderr, stdin, environment: env };
process.exitCode = await dropIn(name, process.argv.slice(2), world);
setTimeout(() => process.exit(), LINGER_MS).unref();
