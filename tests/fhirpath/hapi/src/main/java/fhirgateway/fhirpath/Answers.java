package fhirgateway.fhirpath;

import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.fhirpath.IFhirPath;
import ca.uhn.fhir.parser.IParser;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.hl7.fhir.instance.model.api.IBase;
import org.hl7.fhir.instance.model.api.IBaseResource;
import org.hl7.fhir.instance.model.api.IPrimitiveType;

/**
 * HAPI's FHIRPath engines behind the lines of `fhir-gateway fhirpath --batch`: in comes
 * {"id", "expression", "version", "resource": a path}, out goes {"id", "result": [{"type", "value"}]} or
 * {"id", "error": {"message"}}. A primitive's value is its text; another value is its JSON.
 */
public final class Answers {
  private static final ObjectMapper JSON =
      new ObjectMapper().enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS);

  /** One release of FHIR: its parser, its engine, the resources that were read. */
  private static final class Release {
    final IParser parser;
    final IFhirPath engine;
    final Map<String, IBaseResource> resources = new HashMap<>();

    Release(FhirContext context) {
      context.setValidationSupport(new TypesOnly(context));
      parser = context.newJsonParser();
      engine = context.newFhirPath();
    }

    IBaseResource resource(String path) throws IOException {
      IBaseResource found = resources.get(path);
      if (found == null) {
        found = parser.parseResource(Files.readString(Path.of(path)));
        resources.put(path, found);
      }
      return found;
    }
  }

  private static final Map<String, Release> RELEASES = new HashMap<>();

  private static Release release(String name) {
    return RELEASES.computeIfAbsent(name, version -> new Release(switch (version) {
      case "R4" -> FhirContext.forR4();
      case "R4B" -> FhirContext.forR4B();
      case "R5" -> FhirContext.forR5();
      default -> throw new IllegalArgumentException("no release " + version);
    }));
  }

  public static void main(String[] arguments) throws IOException {
    BufferedReader given = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    PrintStream answers = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    for (String line = given.readLine(); line != null; line = given.readLine()) {
      answers.println(JSON.writeValueAsString(answer(JSON.readTree(line))));
    }
    answers.flush();
  }

  private static ObjectNode answer(JsonNode asked) {
    ObjectNode said = JSON.createObjectNode();
    said.set("id", asked.get("id"));
    try {
      Release release = release(asked.get("version").asText());
      IBaseResource resource = release.resource(asked.get("resource").asText());
      ArrayNode values = said.putArray("result");
      for (IBase found : release.engine.evaluate(resource, asked.get("expression").asText(), IBase.class)) {
        values.add(typed(release, found));
      }
    } catch (Exception | StackOverflowError problem) { // whatever the library throws is what it says
      said.remove("result");
      said.putObject("error").put("message", String.valueOf(problem.getMessage()));
    }
    return said;
  }

  private static ObjectNode typed(Release release, IBase value) throws IOException {
    ObjectNode node = JSON.createObjectNode().put("type", value.fhirType());
    if (value instanceof IPrimitiveType<?> primitive) {
      return node.put("value", primitive.getValueAsString());
    }
    return node.set("value", JSON.readTree(release.parser.encodeToString(value)));
  }

  private Answers() {}
}
