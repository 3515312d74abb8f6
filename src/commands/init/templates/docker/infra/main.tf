# Declare no backend: cdflow adds it from the account scheme. If you use providers, commit the lock file
# that `terraform providers lock` writes.
terraform {
  required_version = ">= 1.6"
}

# A placeholder for a service, so that this deploys without a cloud. `image_id` names the image by its
# digest, so exactly the released image runs.
resource "terraform_data" "service" {
  input = {
    image    = var.release["image_id"]
    greeting = var.greeting
  }
}
