import Inkstone

/// What `generate --json` prints.
struct GenerationDocument {
  let prompt: [Int]
  let result: GenerationResult
  let texts: [String]
  let loadDuration: Duration

  var json: JSONValue {
    let generated = result.sequences.reduce(0) { $0 + $1.tokens.count }
    return [
      "prompt_ids": .array(prompt.map { .integer($0) }),
      "sequences": .array(
        zip(result.sequences, texts).map { sequence, text in
          [
            "text": .string(text),
            "token_ids": .array(sequence.tokens.map { .integer($0) }),
            "logprobs": .array(sequence.logProbabilities.map { .number(Double($0)) }),
            "score": sequence.score.map { .number(Double($0)) } ?? .null,
            "finish_reason": .string(sequence.finishReason.rawValue),
          ]
        }),
      "usage": ["prompt_tokens": .integer(prompt.count), "completion_tokens": .integer(generated)],
      "timings": [
        "load_ms": .number(milliseconds(loadDuration)),
        "prompt_ms": .number(milliseconds(result.promptDuration)),
        "prompt_per_second": .number(rate(prompt.count, result.promptDuration)),
        "predicted_ms": .number(milliseconds(result.generationDuration)),
        "predicted_per_second": .number(rate(generated, result.generationDuration)),
      ],
    ]
  }
}

/// A duration in milliseconds, to the microsecond.
func milliseconds(_ duration: Duration) -> Double {
  ((duration / .milliseconds(1)) * 1000).rounded() / 1000
}

/// Things per second, to two digits; 0 when no time was measured.
func rate(_ count: Int, _ duration: Duration) -> Double {
  let seconds = duration / .seconds(1)
  return seconds > 0 ? (Double(count) / seconds * 100).rounded() / 100 : 0
}
