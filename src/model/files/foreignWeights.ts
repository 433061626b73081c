import { fieldsIn } from './onnx/protobuf.js';

/** How to bring weights here from PyTorch. */
const FROM_PYTORCH = 'save its state dict with safetensors.torch.save_file and give that file';
const AS_SAFETENSORS = 'save the arrays as safetensors, named like conv1.weight and conv1.bias';

/** Of a zip archive, names are sought in its last bytes, where its directory is. */
const ZIP_DIRECTORY = 2 ** 16;
/** Enough fields of a protobuf message to tell what it is. */
const MAX_FIELDS = 10_000;

/**
 * What a file is that holds no weights in a format that is read, and what to do, as the end of a sentence
 * that begins with its name; undefined if it is of no kind that is known.
 */
export function foreignWeights(bytes: Uint8Array): string | undefined {
  const head = latin1(bytes.subarray(0, 1024));
  const begins = (text: string, at = 0): boolean => head.startsWith(text, at);
  const start = head.replace(/^\u00ef\u00bb\u00bf/, '').trimStart();
  if (start.startsWith('version https://git-lfs.github.com/spec/')) {
    return 'is a Git LFS pointer, not the file that it stands for: run git lfs pull';
  }
  if (/^<(!doctype html|html|head|body|!--)/i.test(start)) {
    return 'is a web page, not the file that it offers: download the file itself';
  }
  if (begins('PK\x03\x04')) return zipOf(bytes, head);
  if (begins('\x93NUMPY')) return `is a NumPy array (.npy): ${AS_SAFETENSORS}`;
  if (bytes[0] === 0x80 && bytes[1] >= 2 && bytes[1] <= 5) {
    // The magic number of torch.save before PyTorch 1.6.
    return head.includes('\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19')
      ? `is a PyTorch checkpoint, a Python pickle: ${FROM_PYTORCH}`
      : `is a Python pickle: ${AS_SAFETENSORS}`;
  }
  if (begins('\x1f\x8b')) return 'is compressed with gzip: unpack it with gunzip';
  if (begins('BZh') || begins('\xfd7zXZ\0') || begins('\x28\xb5\x2f\xfd')) {
    return 'is compressed: unpack it';
  }
  if (begins('ustar', 257)) return 'is a tar archive: unpack it and give the file in it';
  if (begins('GGUF')) return `is a GGUF file: ${AS_SAFETENSORS}`;
  if (begins('TFL3', 4)) return `is a TensorFlow Lite model: ${AS_SAFETENSORS}`;
  return messageOf(bytes);
}

function zipOf(bytes: Uint8Array, head: string): string {
  const directory = latin1(bytes.subarray(Math.max(0, bytes.length - ZIP_DIRECTORY)));
  const has = (name: string): boolean => head.includes(name) || directory.includes(name);
  if (has('data.pkl') || has('constants.pkl')) {
    return `is a PyTorch checkpoint (.pth, .pt): ${FROM_PYTORCH}`;
  }
  if (has('.npy')) return `is an archive of NumPy arrays (.npz): ${AS_SAFETENSORS}`;
  if (has('model.weights.h5')) return `is a Keras model (.keras): ${AS_SAFETENSORS}`;
  return 'is a zip archive: unpack it and give the weight file in it';
}

/** A protobuf message that is a network of Caffe. */
function messageOf(bytes: Uint8Array): string | undefined {
  const fields = new Set(
    fieldsIn(bytes, MAX_FIELDS)?.map(({ number, type }) => `${number}:${type}`),
  );
  // NetParameter: name = 1, layers = 2 (old), layer = 100.
  if (!fields.has('1:0') && (fields.has('100:2') || (fields.has('1:2') && fields.has('2:2')))) {
    return 'is a binary .caffemodel of Caffe: load it with pycaffe and save it with net.save_hdf5("weights.caffemodel.h5")';
  }
  return undefined;
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}
