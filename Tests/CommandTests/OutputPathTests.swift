import DiffusionPipelines
import Foundation
import Testing

@Suite struct OutputPathTests {
  private func path(_ text: String?, index: Int = 3, seed: UInt64 = 9, isOnly: Bool = true) throws -> String {
    try OutputPath(text, kind: "image", extensions: ["png"]).path(index: index, seed: seed, isOnly: isOnly)
  }

  @Test func names() throws {
    #expect(try path(nil) == "outputs/image-9.png")
    #expect(try path("a.png") == "a.png")
    #expect(try path("a.PNG") == "a.PNG")
    #expect(try path("a.b/c.png", isOnly: false) == "a.b/c-9.png")
    #expect(try path("new/") == "new/image-9.png")
    #expect(try path("/") == "/image-9.png")
    #expect(try path("x-%04d.png") == "x-0003.png")
    #expect(try path("x-%d.png", index: 12) == "x-12.png")
    #expect(try path("x-%02d.png", index: 12345) == "x-12345.png")
    #expect(try path("100%.png") == "100%.png")
    let folder = try TemporaryFolder()
    #expect(try path(folder.path) == folder.path + "/image-9.png")
  }

  @Test(arguments: ["a.jpg", "a", "a.png.gif", "", "a\0.png", "%d-%d.png", ".png"])
  func refused(text: String) {
    #expect(throws: PipelineError.self) { try path(text) }
  }

  @Test func neverTwice() {
    var paths = UniquePaths()
    #expect(paths.claim("o/a.png") == "o/a.png")
    #expect(paths.claim("o/./a.png") == "o/./a-2.png")
    #expect(paths.claim("o/a.png") == "o/a-3.png")
    #expect(paths.claim("o/b.png") == "o/b.png")
  }
}
