// SPDX-License-Identifier: Apache-2.0
// ONNX Runtime as a peer of the benchmark: node onnxruntime.js MODEL INPUTS THREADS BATCH C H W.
// Speaks the lines that peer.h describes; turns are timed as turn.h does, around session.run, the
// JavaScript call included (nothing is profiled).
'use strict';
const fs = require('fs');
const readline = require('readline');

const kTurnStartUs = 1000;  // as in turn.h

function answer(object, then) {
  process.stdout.write(JSON.stringify(object) + '\n', then);
}

async function main() {
  const ort = require('onnxruntime-node');
  const [model, inputs, ...numbers] = process.argv.slice(2);
  const [threads, batch, channels, height, width] = numbers.map(Number);
  const session = await ort.InferenceSession.create(model, {
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    // Threads that spin between calls would take the cores of whoever is timed next.
    extra: threads > 1 ? {session: {intra_op: {allow_spinning: '0'}}} : {},
    logSeverityLevel: 3,
  });
  const bytes = fs.readFileSync(inputs);
  const all = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  const elements = channels * height * width;
  const feeds = [];  // one for each place where a batch may begin
  for (let start = 0; start < all.length / elements - batch; ++start) {
    const batchInputs = all.subarray(start * elements, (start + batch) * elements);
    feeds.push({input: new ort.Tensor('float32', batchInputs, [batch, channels, height, width])});
  }
  let call = 0;
  const next = () => session.run(feeds[call++ % feeds.length]);

  answer({values: []});
  for await (const line of readline.createInterface({input: process.stdin})) {
    const [word, number] = line.split(' ');
    if (word === 'run') {
      const {logits} = await session.run(feeds[Number(number) % feeds.length]);
      answer({values: Array.from(logits.data)});
      continue;
    }
    const times = [];
    let start = performance.now();
    do {
      await next();
    } while ((performance.now() - start) * 1000 < kTurnStartUs);
    start = performance.now();
    do {
      const callStart = performance.now();
      await next();
      times.push((performance.now() - callStart) * 1000);
    } while ((performance.now() - start) * 1000 < Number(number));
    answer({values: times});
  }
}

main().catch((error) => {
  const answerObject = {error: error.message.split('\n')[0]};
  if (error.code === 'MODULE_NOT_FOUND') {
    answerObject.error += ' (hint: cmake/install_packages.sh --peers)';
    answerObject.missing = true;
  }
  answer(answerObject, () => process.exit(1));
});
