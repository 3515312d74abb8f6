# No backend here: cdflow adds it from the account scheme.
terraform {
  required_version = ">= 1.6"
}

# Stands in for a service, so that this deploys without a cloud. `image_id` names the image by its digest: what runs is
# what was released, and an equal image is no change.
resource "terraform_data" "greeter" {
  input = {
    host        = "${var.release["component"]}-${var.env}.${var.domain}"
    image       = var.release["image_id"]
    port        = 8080
    replicas    = var.replicas
    environment = { GREETING = var.greeting }
  }
}
