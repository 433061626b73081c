// What the program uses of WebAssembly. TypeScript declares it only together with the rest of a browser.
declare namespace WebAssembly {
  interface Module {
    readonly [Symbol.toStringTag]: string;
  }
  const Module: {
    new (bytes: ArrayBufferView): Module;
    customSections(module: Module, name: string): ArrayBuffer[];
  };

  class Memory {
    constructor(limits: { initial: number; maximum: number; shared: true });
    readonly buffer: SharedArrayBuffer;
  }

  class Global {
    value: number;
  }

  type Imports = Record<string, Record<string, unknown>>;

  class Instance {
    constructor(module: Module, imports: Imports);
    readonly exports: Record<string, unknown>;
  }
}
