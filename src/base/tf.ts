/**
 * TensorFlow.js. It is required and not imported: before Node imports a CommonJS module it parses all of it for the
 * names of its exports, which took a quarter of the start of the program.
 */
import tf = require('@tensorflow/tfjs-core');
import tfCpu = require('@tensorflow/tfjs-backend-cpu');

export { tf, tfCpu };
