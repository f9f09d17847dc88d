package com.huaweicloud.sdk.test;

import com.huaweicloud.sdk.core.auth.BasicCredentials;
import com.huaweicloud.sdk.swr.v2.SwrClient;
import com.huaweicloud.sdk.swr.v2.model.CreateSecretRequest;
import com.huaweicloud.sdk.swr.v2.model.CreateSecretResponse;
import com.huaweicloud.sdk.swr.v2.model.ListReposDetailsRequest;
import com.huaweicloud.sdk.swr.v2.model.ListRepositoryTagsRequest;
import com.huaweicloud.sdk.swr.v2.region.SwrRegion;

/** Prints the fields of answers that the SDK fills from headers, one on a line. */
public class HeaderFields {

    public static void main(String[] args) {
        BasicCredentials auth = new BasicCredentials()
                .withAk(System.getenv("CLOUD_SDK_AK"))
                .withSk(System.getenv("CLOUD_SDK_SK"));
        SwrClient client = SwrClient.newBuilder()
                .withCredential(auth)
                .withRegion(SwrRegion.valueOf("cn-north-4"))
                .build();

        CreateSecretResponse secret = client.createSecret(new CreateSecretRequest());
        System.out.println("X-Swr-Dockerlogin: " + secret.getXSwrDockerlogin());
        System.out.println("Auths: " + secret.getAuths());
        System.out.println("ListReposDetails: "
                + client.listReposDetails(new ListReposDetailsRequest()).getContentRange());
        System.out.println("ListRepositoryTags: "
                + client.listRepositoryTags(new ListRepositoryTagsRequest().withNamespace("group").withRepository("hello"))
                        .getContentRange());
    }
}
