// Reads samples from standard input, one JSON object a line: {"kind", "name", "value"}. Decodes each, writes it, reads
// it again and compares. Answers a line per sample: `ok`, or what is wrong with it.

import Foundation

struct Sample: Decodable {
    let kind: String
    let name: String
    let value: JSONValue
}

struct Wrong: Error, CustomStringConvertible {
    let description: String
}

func typeOf(_ sample: Sample) throws -> any Model.Type {
    var found: (any Model.Type)?
    switch sample.kind {
    case "frame": found = Frame.self
    case "params": found = Methods.all.first { $0.name == sample.name }?.params
    case "result": found = Methods.all.first { $0.name == sample.name }?.result
    case "event": found = Events.all.first { $0.name == sample.name }?.payload
    case "connect": found = Connect.all.first { $0.name == sample.name }?.payload
    default: found = nil
    }
    guard let found else { throw Wrong(description: "no type for \(sample.kind) \(sample.name)") }
    return found
}

func goRound<T: Codable & Hashable>(_ type: T.Type, _ value: JSONValue) throws {
    let first = try JSONDecoder().decode(type, from: JSONEncoder().encode(value))
    let second = try JSONDecoder().decode(type, from: JSONEncoder().encode(first))
    if first != second { throw Wrong(description: "another value after writing and reading") }
}

@main
struct Samples {
    static func main() {
        while let line = readLine() {
            do {
                let sample = try JSONDecoder().decode(Sample.self, from: Data(line.utf8))
                try goRound(try typeOf(sample), sample.value)
                print("ok")
            } catch {
                print("\(error)".replacingOccurrences(of: "\n", with: " "))
            }
        }
    }
}
