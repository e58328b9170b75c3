package fhirgateway.fhirpath;

import ca.uhn.fhir.context.BaseRuntimeElementDefinition;
import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.IValidationSupport;
import ca.uhn.fhir.parser.IParser;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.hl7.fhir.instance.model.api.IBaseResource;

/**
 * What the engines ask of the definitions when they evaluate: which types there are, and what each specialises. It is
 * in the Java classes; HAPI's own support reads all of HL7's profiles for it, which takes half a minute a release.
 */
final class TypesOnly implements IValidationSupport {
  private static final String URL = "http://hl7.org/fhir/StructureDefinition/";

  private static final Map<String, String> ABSTRACT =
      Map.of("Resource", "Base", "DomainResource", "Resource", "Element", "Base", "BackboneElement", "Element");

  private final FhirContext context;
  private final Map<String, IBaseResource> definitions = new LinkedHashMap<>();

  TypesOnly(FhirContext context) {
    this.context = context;
    context.getResourceTypes().forEach(context::getResourceDefinition); // reads the classes of the data types, too
    IParser parser = context.newJsonParser();
    ABSTRACT.forEach((type, above) -> definitions.put(URL + type, parser.parseResource(
        definition(type, type.endsWith("Resource") ? "resource" : "complex-type", above).toString())));
    for (BaseRuntimeElementDefinition<?> type : context.getElementDefinitions()) {
      String kind = switch (type.getChildType()) {
        case PRIMITIVE_DATATYPE, ID_DATATYPE, PRIMITIVE_XHTML, PRIMITIVE_XHTML_HL7ORG -> "primitive-type";
        case COMPOSITE_DATATYPE -> "complex-type";
        case RESOURCE -> "resource";
        default -> null;
      };
      if (kind != null) {
        definitions.put(URL + type.getName(),
            parser.parseResource(definition(type.getName(), kind, above(type, kind)).toString()));
      }
    }
    for (String name : context.getResourceTypes()) {
      String above = above(context.getResourceDefinition(name), "resource");
      definitions.put(URL + name, parser.parseResource(definition(name, "resource", above).toString()));
    }
  }

  private static String above(BaseRuntimeElementDefinition<?> type, String kind) {
    String above = type.getImplementingClass().getSuperclass().getSimpleName();
    return switch (above) {
      case "PrimitiveType", "BaseDateTimeType", "DataType", "Type", "BaseReference" -> "Element";
      default -> kind.equals("primitive-type")
          ? Character.toLowerCase(above.charAt(0)) + above.substring(1).replace("Type", "")
          : above;
    };
  }

  private static ObjectNode definition(String type, String kind, String above) {
    return JsonNodeFactory.instance.objectNode().put("resourceType", "StructureDefinition")
        .put("url", URL + type).put("name", type).put("status", "active").put("kind", kind)
        .put("abstract", ABSTRACT.containsKey(type)).put("type", type).put("baseDefinition", URL + above)
        .put("derivation", "specialization");
  }

  @Override
  public FhirContext getFhirContext() {
    return context;
  }

  @Override
  @SuppressWarnings("unchecked")
  public <T extends IBaseResource> List<T> fetchAllStructureDefinitions() {
    return (List<T>) new ArrayList<>(definitions.values());
  }

  @Override
  public IBaseResource fetchStructureDefinition(String url) {
    return definitions.get(url);
  }

  @Override
  @SuppressWarnings("unchecked")
  public <T extends IBaseResource> T fetchResource(Class<T> type, String url) {
    IBaseResource found = definitions.get(url);
    return type == null || type.isInstance(found) ? (T) found : null;
  }
}
