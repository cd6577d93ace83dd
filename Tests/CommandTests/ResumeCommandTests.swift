import DiffusionPipelines
import Foundation
import Media
import TestSupport
import Testing

@testable import CommandSupport

/// Programs that are stopped go on to the same bytes with `--resume`.
@Suite(.serialized) struct ResumeCommandTests {
  let folder: TemporaryFolder
  let world = FakeWorld()
  init() throws {
    folder = try TemporaryFolder()
    world.isReal = true
  }

  private func run(_ video: Bool, _ name: String, _ more: String...) -> Int32 {
    let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("PipelineTests/Fixtures").path
    let arguments =
      [
        "-m", fixtures + (video ? "/toy-wan" : "/toy-pixart-sigma"), "-p", "a red cube", "-s", "3", "--steps", "6",
        "--size", video ? "32x32" : "64x64", "-o", folder.path(name),
      ] + (video ? ["--num-frames", "5"] : ["--resolution-binning", "off"]) + more
    return video ? world.run(GenerateVideoCommand.self, arguments) : world.run(arguments)
  }

  private func bytes(_ name: String) throws -> Data { try Data(contentsOf: folder.url.appendingPathComponent(name)) }

  @Test(arguments: [false, true]) func stoppedRunsGoOn(video: Bool) throws {
    let ending = video ? "mkv" : "png"
    #expect(run(video, "whole.\(ending)") == 0, "\(world.errors)")
    var stops = 0
    for stop in stride(from: 2, to: 40, by: 2) {
      world.stopAfter = stop
      let code = run(video, "part.\(ending)", "--resume")
      guard code == 130 else {
        #expect(code == 0, "\(world.errors)")
        break
      }
      stops += 1
      #expect(!folder.contains("part.\(ending)"))
      if world.errors.contains("steps are saved") { #expect(world.errors.contains("to go on: generate-")) }
    }
    world.stopAfter = nil
    #expect(stops > 3)
    #expect(run(video, "part.\(ending)", "--resume") == 0, "\(world.errors)")
    #expect(try bytes("part.\(ending)") == bytes("whole.\(ending)"))
    #expect(!folder.contains("part-state.safetensors"))
    // A result that is there is not made again.
    #expect(run(video, "part.\(ending)", "--resume") == 0)
    #expect(world.errors.contains("is there already") && !world.errors.contains("denoise"))
    #expect(run(video, "part.\(ending)", "--resume", "--guidance-scale", "2") == 0 && world.errors.contains("denoise"))
  }

  @Test func statesAreWrittenAsAsked() throws {
    #expect(run(false, "a.png", "--checkpoint-every", "0", "--verbose") == 0)
    #if os(Linux)
      #expect(world.errors.contains(" of it mapped files"))
    #endif
    #expect(!folder.contains("a-state.safetensors"))
    world.unwritable = [folder.path("b.png")]
    #expect(run(false, "b.png") == 74)
    #expect(folder.contains("b-state.safetensors") && world.errors.contains("6 of 6 steps are saved"))
    let rescued = FileManager.default.temporaryDirectory.appendingPathComponent("tessera-rescued-b.png")
    try? FileManager.default.removeItem(at: rescued)
    world.unwritable = []
    #expect(run(false, "b.png", "--resume") == 0, "\(world.errors)")
    #expect(!world.errors.contains("denoise 1/6") && world.errors.contains("going on after step 6"))
    #expect(try bytes("a.png") == bytes("b.png"))
  }

  @Test func otherFlagsAreRefused() throws {
    world.stopAfter = 8
    #expect(run(false, "a.png") == 130, "\(world.errors)")
    world.stopAfter = nil
    let state = try bytes("a-state.safetensors")
    #expect(run(false, "a.png", "--resume", "--guidance-scale", "2") == 64)
    #expect(world.errors.contains("guidance_scale"), "\(world.errors)")
    #expect(try bytes("a-state.safetensors") == state && !folder.contains("a.png"))
    try folder.write(Data(state.prefix(200)), to: "a-state.safetensors")
    #expect(run(false, "a.png", "--resume") == 65)
    #expect(run(false, "a.png") == 0 && world.errors.contains("starts anew"))
  }

  @Test func statesAreRescuedWhereTheFolderIsFull() throws {
    let name = "full-\(UUID().uuidString)", rescued = "tessera-rescued-\(name)-state.safetensors"
    let rescue = FileManager.default.temporaryDirectory.appendingPathComponent(rescued)
    defer { try? FileManager.default.removeItem(at: rescue) }
    (world.stopAfter, world.unwritableFolders) = (8, [folder.path("")])
    #expect(run(false, "\(name).png") == 130)
    #expect(world.errors.contains("saved in \(rescue.path)") && world.errors.contains("move it to"), "\(world.errors)")
    (world.stopAfter, world.unwritableFolders) = (nil, [])
    try FileManager.default.moveItem(atPath: rescue.path, toPath: folder.path("\(name)-state.safetensors"))
    #expect(run(false, "\(name).png", "--resume") == 0 && world.errors.contains("going on after step"))
  }

  @Test func twoRunsDoNotShareAPath() throws {
    let claim = try #require(try FileLock(claiming: folder.url.appendingPathComponent("a.png")))
    #expect(run(false, "a.png") == 73 && world.errors.contains("another run is writing it"), "\(world.errors)")
    #expect(!world.errors.contains("denoise"))
    claim.release()
    #expect(run(false, "a.png") == 0 && !folder.contains(".a.png.lock"))
  }
}
