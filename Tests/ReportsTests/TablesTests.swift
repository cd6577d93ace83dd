import Evaluation
import Foundation
import Sweeps
import Testing

@testable import Reports

@Suite struct TablesTests {
  static let quick = Bootstrap(resamples: 200)

  /// Fields of RFC 4180.
  private static func read(_ csv: String) -> [[String]] {
    var rows: [[String]] = [], row: [String] = [], field = "", isQuoted = false
    var scalars = Array(csv.unicodeScalars)[...]
    while let next = scalars.popFirst() {
      if isQuoted {
        if next == "\"", scalars.first == "\"" {
          field.unicodeScalars.append(scalars.removeFirst())
        } else if next == "\"" {
          isQuoted = false
        } else {
          field.unicodeScalars.append(next)
        }
      } else if next == "\"" {
        isQuoted = true
      } else if next == "," {
        row.append(field)
        field = ""
      } else if next == "\r", scalars.first == "\n" {
        scalars.removeFirst()
        rows.append(row + [field])
        (row, field) = ([], "")
      } else {
        field.unicodeScalars.append(next)
      }
    }
    #expect(row.isEmpty && field.isEmpty && !isQuoted)
    return rows
  }

  @Test func csvComesBack() throws {
    var sweep = SyntheticSweep()
    sweep.prompts = ["plain", "with, comma and \"quotes\"\r\nand a line, 日本語"]
    var results = sweep.results
    results.cells[3].metrics = ["psnr": .infinity, "ssim": 0.1 + 0.2]
    let rows = Self.read(ReportTables(results).csv())
    #expect(rows.count == results.cells.count + 1)
    #expect(rows.allSatisfy { $0.count == rows[0].count })
    for (row, cell) in zip(rows.dropFirst(), results.cells) {
      let fields = Dictionary(uniqueKeysWithValues: zip(rows[0], row))
      #expect(fields["prompt"] == cell.prompt && fields["command"] == cell.command)
      #expect(fields["seed"] == "\(cell.seed)" && fields["role"] == cell.variant.role.rawValue)
      #expect(Double(fields["density_run"] ?? "") == cell.densities.run)
      #expect(Double(fields["psnr"] ?? "") == cell.metrics["psnr"])
      #expect(Double(fields["ssim"] ?? "") == cell.metrics["ssim"])
      #expect((fields["step_speedup"] == "") == (cell.variant.role == .dense))
    }
    #expect(rows[4][rows[0].firstIndex(of: "psnr")!] == "inf" && rows[4][rows[0].firstIndex(of: "flip")!] == "")
  }

  @Test func jsonLinesComeBack() throws {
    let results = SyntheticSweep().results
    let lines = try ReportTables(results).jsonLines().split(separator: "\n")
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    decoder.nonConformingFloatDecodingStrategy = .convertFromString(
      positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
    #expect(lines.count == results.cells.count && results.cells.contains { $0.metrics["psnr"] == .infinity })
    for (line, cell) in zip(lines, results.cells) {
      let object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
      #expect(object["prompt"] as? String == cell.prompt)
      let metrics = try decoder.decode(Metrics.self, from: Data(line.utf8)).metrics
      #expect(metrics == cell.metrics)
    }
  }
  private struct Metrics: Decodable { var metrics: [String: Double] }

  @Test func summariesAsTables() throws {
    let table = SummaryTable(SweepAnalysis(SyntheticSweep().results, bootstrap: Self.quick), metrics: ["psnr"])
    #expect(
      table.header == [
        "variant", "density", "of the run", "PSNR, dB", "attention", "step", "planning", "FLOPs kept", "cells",
      ])
    #expect(table.rows.count == 16 && table.rows[0][0] == "draft 0.50")
    let lines = table.markdown.split(separator: "\n")
    #expect(lines.count == 18 && lines[1].hasPrefix("| --- | ---: |"))
    #expect(Set(lines.map { $0.count { $0 == "|" } }) == [10])
    #expect(table.text.split(separator: "\n").count == 17)
    #expect(table.rows[0][3].contains("[") && table.rows[0][4].contains("x ["))
  }
}
