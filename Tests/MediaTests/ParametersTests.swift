import Media
import Testing

struct ParametersTests {
  @Test func writesTheGrammar() {
    let parameters = Parameters(
      prompt: "a red cube, on a table", negativePrompt: "blurry",
      fields: [
        .init("Steps", "20"), .init("Sampler", "DPM++ 2M"), .init("CFG scale", "4.5"), .init("Seed", "42"),
        .init("Size", "512x768"), .init("Model", "a, b: c"), .init("RNG", "CPU"),
      ])
    #expect(
      parameters.text == """
        a red cube, on a table
        Negative prompt: blurry
        Steps: 20, Sampler: DPM++ 2M, CFG scale: 4.5, Seed: 42, Size: 512x768, Model: "a, b: c", RNG: CPU
        """)
    let size = parameters.size
    #expect(size?.width == 512 && size?.height == 768)
    #expect(parameters["CFG scale"] == "4.5")
    #expect(parameters["absent"] == nil)
  }

  @Test(arguments: [
    "", "plain", "a, b", "a: b", "two\nlines", "quote \" inside, and \\ slash", "\"quoted\"", "\"open", " edge ",
    "tab\tin, it", "\u{1}, \u{1f}", "日本, ü: 🎨", "\\", ",", "\"", "x,\u{301}y", "radial:decay=0.5,dense-steps=4", "\r\n",
  ])
  func valuesReturn(value: String) {
    let fields: [Parameters.Field] = [
      .init("Steps", "20"), .init("Odd one", value), .init("a/b-c", value), .init("Seed", "1"),
    ]
    for negative in ["", "bad", "bad\nworse"] {
      let prompt = "first line\nsecond: line, with, commas"
      let parameters = Parameters(prompt: prompt, negativePrompt: negative, fields: fields)
      #expect(Parameters(parsing: parameters.text) == parameters)
    }
  }

  @Test func readsUpstreamText() {
    let text = """
      girl with an artist's beret, by Alphonse Mucha, ((eyeshadow))
      Negative prompt: ugly, fat, (((deformed))), [blurry]
      Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 965400086, Size: 512x512, Lora hashes: "a: 1, b: 2", Version: v1.9.4
      """
    let parameters = Parameters(parsing: text)
    #expect(parameters.prompt == "girl with an artist's beret, by Alphonse Mucha, ((eyeshadow))")
    #expect(parameters.negativePrompt == "ugly, fat, (((deformed))), [blurry]")
    #expect(
      parameters.fields.map(\.key) == ["Steps", "Sampler", "CFG scale", "Seed", "Size", "Lora hashes", "Version"])
    #expect(parameters["Lora hashes"] == "a: 1, b: 2")
    #expect(Parameters(parsing: text.split(separator: "\n").joined(separator: "\r\n")) == parameters)
  }

  @Test(arguments: ["", "just a prompt", "a prompt: with one, colon: two", "\n\n", "Steps: 20, Seed: 1"])
  func textWithoutParametersIsPrompt(text: String) {
    let parameters = Parameters(parsing: text)
    #expect(parameters.fields.isEmpty)
    #expect(parameters.negativePrompt.isEmpty)
  }

  @Test func hostileTextIsQuick() {
    let texts = [
      String(repeating: "ab ", count: 300_000), String(repeating: "a\"\\:", count: 200_000),
      String(repeating: "ab:\"", count: 200_000), String(repeating: " ", count: 500_000) + "x",
    ]
    for text in texts { _ = Parameters(parsing: text) }
  }
}
