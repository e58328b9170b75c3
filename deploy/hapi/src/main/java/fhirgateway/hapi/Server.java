package fhirgateway.hapi;

import ca.uhn.fhir.batch2.jobs.config.Batch2JobsConfig;
import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.IValidationSupport;
import ca.uhn.fhir.jpa.api.IDaoRegistry;
import ca.uhn.fhir.jpa.api.config.JpaStorageSettings;
import ca.uhn.fhir.jpa.api.config.JpaStorageSettings.StoreMetaSourceInformationEnum;
import ca.uhn.fhir.jpa.api.config.ThreadPoolFactoryConfig;
import ca.uhn.fhir.jpa.api.dao.IFhirSystemDao;
import ca.uhn.fhir.jpa.batch2.JpaBatch2Config;
import ca.uhn.fhir.jpa.binstore.DatabaseBinaryContentStorageSvcImpl;
import ca.uhn.fhir.jpa.config.HibernatePropertiesProvider;
import ca.uhn.fhir.jpa.config.r4.JpaR4Config;
import ca.uhn.fhir.jpa.config.util.HapiEntityManagerFactoryUtil;
import ca.uhn.fhir.jpa.config.util.ResourceCountCacheUtil;
import ca.uhn.fhir.jpa.dao.FulltextSearchSvcImpl;
import ca.uhn.fhir.jpa.dao.IFulltextSearchSvc;
import ca.uhn.fhir.jpa.dao.search.HSearchSortHelperImpl;
import ca.uhn.fhir.jpa.dao.search.IHSearchSortHelper;
import ca.uhn.fhir.jpa.model.config.PartitionSettings;
import ca.uhn.fhir.jpa.model.config.SubscriptionSettings;
import ca.uhn.fhir.jpa.model.dialect.HapiFhirH2Dialect;
import ca.uhn.fhir.jpa.provider.DaoRegistryResourceSupportedSvc;
import ca.uhn.fhir.jpa.provider.DiffProvider;
import ca.uhn.fhir.jpa.provider.IJpaSystemProvider;
import ca.uhn.fhir.jpa.provider.JpaCapabilityStatementProvider;
import ca.uhn.fhir.jpa.provider.ValueSetOperationProvider;
import ca.uhn.fhir.jpa.search.DatabaseBackedPagingProvider;
import ca.uhn.fhir.jpa.search.IStaleSearchDeletingSvc;
import ca.uhn.fhir.jpa.search.StaleSearchDeletingSvcImpl;
import ca.uhn.fhir.jpa.subscription.channel.config.SubscriptionChannelConfig;
import ca.uhn.fhir.jpa.util.ResourceCountCache;
import ca.uhn.fhir.rest.api.EncodingEnum;
import ca.uhn.fhir.rest.api.IResourceSupportedSvc;
import ca.uhn.fhir.rest.server.RestfulServer;
import ca.uhn.fhir.rest.server.interceptor.ResponseHighlighterInterceptor;
import ca.uhn.fhir.rest.server.provider.ResourceProviderFactory;
import ca.uhn.fhir.rest.server.util.ISearchParamRegistry;
import com.zaxxer.hikari.HikariDataSource;
import jakarta.persistence.EntityManagerFactory;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import javax.sql.DataSource;
import org.hibernate.dialect.Dialect;
import org.springframework.beans.factory.config.ConfigurableListableBeanFactory;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.SpringBootConfiguration;
import org.springframework.boot.autoconfigure.ImportAutoConfiguration;
import org.springframework.boot.autoconfigure.web.servlet.ServletWebServerFactoryAutoConfiguration;
import org.springframework.boot.web.servlet.ServletRegistrationBean;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Import;
import org.springframework.context.annotation.Primary;
import org.springframework.orm.jpa.JpaTransactionManager;
import org.springframework.orm.jpa.LocalContainerEntityManagerFactoryBean;

/**
 * A HAPI FHIR R4 JPA server on /fhir over an in-memory H2, as the public starter behaves by default.
 *
 * <p>The gateway is tested against it, so what tests rely on is said here even where it is the library's default.
 */
@SpringBootConfiguration
@ImportAutoConfiguration(ServletWebServerFactoryAutoConfiguration.class)
@Import({
  JpaR4Config.class,
  JpaBatch2Config.class,
  Batch2JobsConfig.class,
  SubscriptionChannelConfig.class, // the batch jobs need its in-process broker
  ThreadPoolFactoryConfig.class
})
public class Server {

  public static void main(String[] args) {
    SpringApplication app = new SpringApplication(Server.class);
    app.setDefaultProperties(Map.of(
        "server.address", "127.0.0.1",
        "server.port", "8080",
        "spring.main.allow-circular-references", "true",
        "spring.main.banner-mode", "off",
        "server.tomcat.relaxed-query-chars", "|",
        "logging.level.root", "WARN",
        "logging.level.fhirgateway", "INFO"));
    app.run(args);
  }

  @Bean
  JpaStorageSettings storageSettings() {
    JpaStorageSettings s = new JpaStorageSettings();
    // The starter sets these; the library leaves them off.
    s.setExpungeEnabled(true);
    s.setAllowContainsSearches(true);
    s.setFilterParameterEnabled(true);
    s.setDefaultSearchParamsCanBeOverridden(true);
    s.setSearchPreFetchThresholds(Arrays.asList(13, 503, 2003, -1));
    Set<String> logical = new HashSet<>();
    for (String host : new String[] {"terminology.hl7.org", "snomed.info", "unitsofmeasure.org", "loinc.org"}) {
      logical.add("http://" + host + "/*");
      logical.add("https://" + host + "/*");
    }
    s.setTreatReferencesAsLogical(logical);
    // The starter has NONE. Kept here, because a write whose answer was lost is found by the request id in meta.source;
    // start with META_SOURCE=NONE to see what is left without it (a search by _source then answers 400).
    s.setStoreMetaSourceInformation(
        StoreMetaSourceInformationEnum.valueOf(System.getProperty("meta_source", "SOURCE_URI_AND_REQUEST_ID")));
    // Defaults of both.
    s.setEnforceReferentialIntegrityOnWrite(true);
    s.setEnforceReferentialIntegrityOnDelete(true);
    s.setAllowExternalReferences(false);
    s.setAllowMultipleDelete(false);
    s.setResourceDbHistoryEnabled(true);
    s.setResourceClientIdStrategy(JpaStorageSettings.ClientIdStrategyEnum.ALPHANUMERIC);
    return s;
  }

  @Bean
  PartitionSettings partitionSettings() {
    return new PartitionSettings();
  }

  @Bean
  SubscriptionSettings subscriptionSettings() {
    return new SubscriptionSettings(); // no supported types: subscriptions are off
  }

  @Bean
  DataSource dataSource() {
    HikariDataSource d = new HikariDataSource();
    d.setJdbcUrl("jdbc:h2:mem:fhir;DB_CLOSE_DELAY=-1");
    d.setUsername("sa");
    d.setMaximumPoolSize(20);
    return d;
  }

  @Bean
  @Primary
  LocalContainerEntityManagerFactoryBean entityManagerFactory(
      DataSource ds, ConfigurableListableBeanFactory beans, FhirContext ctx, JpaStorageSettings s) {
    LocalContainerEntityManagerFactoryBean f = HapiEntityManagerFactoryUtil.newEntityManagerFactory(beans, ctx, s);
    f.setPersistenceUnitName("HAPI_PU");
    f.setDataSource(ds);
    f.setJpaPropertyMap(Map.of(
        "hibernate.dialect", HapiFhirH2Dialect.class.getName(),
        "hibernate.hbm2ddl.auto", "update",
        "hibernate.jdbc.batch_size", "20",
        "hibernate.cache.use_query_cache", "false",
        "hibernate.cache.use_second_level_cache", "false",
        "hibernate.search.enabled", "false"));
    return f;
  }

  @Bean
  @Primary
  JpaTransactionManager transactionManager(EntityManagerFactory f) {
    return new JpaTransactionManager(f);
  }

  @Bean
  @Primary
  HibernatePropertiesProvider dialect() {
    return new HibernatePropertiesProvider() {
      @Override
      public Dialect getDialect() {
        return new HapiFhirH2Dialect();
      }
    };
  }

  @Bean
  IFulltextSearchSvc fulltextSearchSvc() {
    return new FulltextSearchSvcImpl();
  }

  @Bean
  IHSearchSortHelper sortHelper(ISearchParamRegistry r) {
    return new HSearchSortHelperImpl(r);
  }

  @Bean
  IStaleSearchDeletingSvc staleSearches() {
    return new StaleSearchDeletingSvcImpl();
  }

  @Bean
  DatabaseBackedPagingProvider paging() {
    DatabaseBackedPagingProvider p = new DatabaseBackedPagingProvider();
    p.setDefaultPageSize(20);
    p.setMaximumPageSize(Integer.MAX_VALUE);
    return p;
  }

  @Bean
  IResourceSupportedSvc resourceSupported(IDaoRegistry r) {
    return new DaoRegistryResourceSupportedSvc(r);
  }

  @Bean("myResourceCountsCache")
  ResourceCountCache counts(IFhirSystemDao<?, ?> dao) {
    return ResourceCountCacheUtil.newResourceCountCache(dao);
  }

  @Bean
  DatabaseBinaryContentStorageSvcImpl binaryStorage() {
    return new DatabaseBinaryContentStorageSvcImpl();
  }

  @Bean
  ServletRegistrationBean<RestfulServer> fhir(
      IFhirSystemDao<?, ?> dao, IJpaSystemProvider system, ResourceProviderFactory resources, JpaStorageSettings s,
      ISearchParamRegistry params, IValidationSupport validation, DatabaseBackedPagingProvider paging,
      ValueSetOperationProvider valueSets, DiffProvider diff) {
    RestfulServer fhir = new RestfulServer(dao.getContext());
    fhir.registerProviders(resources.createProviders());
    fhir.registerProviders(system, valueSets, diff);
    fhir.setServerConformanceProvider(new JpaCapabilityStatementProvider(fhir, dao, s, params, validation));
    fhir.setDefaultPrettyPrint(true);
    fhir.setDefaultResponseEncoding(EncodingEnum.JSON);
    fhir.setPagingProvider(paging);
    fhir.registerInterceptor(new ResponseHighlighterInterceptor()); // HTML only for a browser's Accept
    ServletRegistrationBean<RestfulServer> bean = new ServletRegistrationBean<>(fhir, "/fhir/*");
    bean.setLoadOnStartup(1);
    return bean;
  }
}
