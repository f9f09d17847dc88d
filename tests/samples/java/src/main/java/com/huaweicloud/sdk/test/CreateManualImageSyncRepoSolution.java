package com.huaweicloud.sdk.test;

import com.huaweicloud.sdk.core.auth.ICredential;
import com.huaweicloud.sdk.core.auth.BasicCredentials;
import com.huaweicloud.sdk.core.exception.ConnectionException;
import com.huaweicloud.sdk.core.exception.RequestTimeoutException;
import com.huaweicloud.sdk.core.exception.ServiceResponseException;
import com.huaweicloud.sdk.swr.v2.region.SwrRegion;
import com.huaweicloud.sdk.swr.v2.*;
import com.huaweicloud.sdk.swr.v2.model.*;

import java.util.List;
import java.util.ArrayList;

public class CreateManualImageSyncRepoSolution {

    public static void main(String[] args) {
        // The AK and SK used for authentication are hard-coded or stored in plaintext, which has great security risks. It is recommended that the AK and SK be stored in ciphertext in configuration files or environment variables and decrypted during use to ensure security.
        // In this example, AK and SK are stored in environment variables for authentication. Before running this example, set environment variables CLOUD_SDK_AK and CLOUD_SDK_SK in the local environment
        String ak = System.getenv("CLOUD_SDK_AK");
        String sk = System.getenv("CLOUD_SDK_SK");

        ICredential auth = new BasicCredentials()
                .withAk(ak)
                .withSk(sk);

        SwrClient client = SwrClient.newBuilder()
                .withCredential(auth)
                .withRegion(SwrRegion.valueOf("cn-north-4"))
                .build();
        CreateManualImageSyncRepoRequest request = new CreateManualImageSyncRepoRequest();
        request.withNamespace("group");
        request.withRepository("hello");
        CreateManualImageSyncRepoRequestBody body = new CreateManualImageSyncRepoRequestBody();
        List<String> listbodyImageTag = new ArrayList<>();
        listbodyImageTag.add("V1");
        body.withRemoteRegionId("cn-north-208");
        body.withRemoteNamespace("sdsad");
        body.withOverride(true);
        body.withImageTag(listbodyImageTag);
        request.withBody(body);
        try {
            CreateManualImageSyncRepoResponse response = client.createManualImageSyncRepo(request);
            System.out.println(response.toString());
        } catch (ConnectionException e) {
            e.printStackTrace();
        } catch (RequestTimeoutException e) {
            e.printStackTrace();
        } catch (ServiceResponseException e) {
            e.printStackTrace();
            System.out.println(e.getHttpStatusCode());
            System.out.println(e.getRequestId());
            System.out.println(e.getErrorCode());
            System.out.println(e.getErrorMsg());
        }
    }
}
