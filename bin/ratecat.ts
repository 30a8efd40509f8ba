#!/usr/bin/env node
import 'reflect-metadata';
import { main } from '../core/cli/main.js';

/** How long a handle that somebody forgot to close may keep a finished command alive. */
const LINGER_MS = 2_000;

process.exitCode = await main(process.argv.slice(2));
setTimeout(() => process.exit(), LINGER_MS).unref();
