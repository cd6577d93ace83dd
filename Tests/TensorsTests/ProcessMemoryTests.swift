#if os(Linux)
  import Foundation
  import Testing

  @testable import Tensors

  /// A sanitizer's notes of memory may come to an eighth of it.
  private let size = 256 << 20, near = size / 4

  /// Each in a process of its own: other tests take and give back memory at the same time.
  struct ProcessMemoryTests {
    @Test func mappedFiles() async {
      await #expect(processExitsWith: .success) {
        let url = FileManager.default.temporaryDirectory.appending(path: "memory-\(UUID().uuidString)")
        try #require(FileManager.default.createFile(atPath: url.path, contents: nil))
        let handle = try FileHandle(forWritingTo: url)
        try handle.truncate(atOffset: UInt64(size))
        try handle.close()
        let file = try MappedFile(path: url.path)
        try FileManager.default.removeItem(at: url)
        let stored = StoredTensor(type: .float32, shape: [size / 4], file: file, range: 0..<size)

        let before = try #require(ProcessMemory.current)
        #expect(stored.isFinite)
        let touched = try #require(ProcessMemory.current)
        #expect(abs(touched.mapped - before.mapped - size) < near)
        #expect(abs(touched.anonymous - before.anonymous) < near)
        stored.discardPages()
        let after = try #require(ProcessMemory.current), peak = try #require(ProcessMemory.peak)
        #expect(abs(after.mapped - before.mapped) < near)
        #expect(abs(peak.use.mapped - touched.mapped) < near && abs(peak.bytes - peak.use.total) < near)
        ProcessMemory.resetPeak()
        let anew = try #require(ProcessMemory.peak)
        #expect(peak.bytes - anew.bytes > size - near && peak.use.total - anew.use.total > size - near)
      }
    }

    @Test func blocks() async {
      await #expect(processExitsWith: .success) {
        let before = try #require(ProcessMemory.current)
        func fill() -> ProcessMemory.Use? {
          let block = MemoryBlock(count: size, of: UInt8.self)
          return withExtendedLifetime(block) {
            memset(block.pointer, 1, size)
            return ProcessMemory.current
          }
        }
        let filled = try #require(fill())
        #expect(abs(filled.anonymous - before.anonymous - size) < near && abs(filled.mapped - before.mapped) < near)
        // The block is kept, and seen on its way out.
        MemoryBlock.releaseKept()
        let peak = try #require(ProcessMemory.peak)
        #expect(abs(peak.use.anonymous - filled.anonymous) < near && abs(peak.bytes - peak.use.total) < near)
      }
    }
  }
#endif
