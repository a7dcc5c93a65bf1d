// Reads samples from standard input, one JSON object a line: {"kind", "name", "value"}. Decodes each, writes it, reads
// it again and compares. Answers a line per sample: `ok`, or what is wrong with it.

package adjutant.protocol

import kotlinx.serialization.KSerializer
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive

private fun serializerOf(kind: String, name: String): KSerializer<out Any?> = when (kind) {
    "frame" -> Frame.serializer()
    "params" -> Methods.all.first { it.name == name }.params
    "result" -> Methods.all.first { it.name == name }.result
    "event" -> Events.all.first { it.name == name }.payload
    "connect" -> Connect.all.first { it.name == name }.payload
    else -> error("no type for $kind $name")
}

private fun <T> goRound(serializer: KSerializer<T>, value: JsonElement, json: Json) {
    val first = json.decodeFromJsonElement(serializer, value)
    val text = json.encodeToString(serializer, first)
    check(first == json.decodeFromString(serializer, text)) { "another value after writing and reading" }
}

fun main() {
    // Parameters are read as the gateway reads them: a member that is not known is refused.
    val strict = Json(gatewayJson) { ignoreUnknownKeys = false }
    for (line in generateSequence(::readLine)) {
        try {
            val sample = Json.parseToJsonElement(line).jsonObject
            val kind = sample.getValue("kind").jsonPrimitive.content
            val name = sample.getValue("name").jsonPrimitive.content
            val json = if (kind == "params") strict else gatewayJson
            goRound(serializerOf(kind, name), sample.getValue("value"), json)
            println("ok")
        } catch (e: Exception) {
            println(e.toString().replace('\n', ' '))
        }
    }
}
