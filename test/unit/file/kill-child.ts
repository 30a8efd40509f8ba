/** A daemon's pick-up in a process of its own, to be killed. Arguments: the drop folder. */
import { Drop } from './drop.js';

const drop = new Drop(process.argv[2]!);
process.send?.('starting');
await drop.start();
process.send?.('done');
await drop.stop();
